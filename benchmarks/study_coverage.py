"""How often the intervals and verdicts of a preference study are right, by simulation (about five minutes on one core).

    python benchmarks/study_coverage.py [--only TEXT] [--trials N] [--save FILE]

Each trial is a study of new raters on new prompts (`study_world.py`: ties, lapses, a lean to the left, effects of
raters and prompts). The truth is what the same raters come to in 10^6 votes, of win rates and of the strengths that the
Davidson model has there, though it is not the model that the votes come from.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from simulate import Line, Rng, Trials, cell, main
from study_world import World, answers, limit, packed, questions, raters_of, study

from bench.analysis.stats import Interval
from bench.study.agreement import side_bias
from bench.study.ballots import Ballots
from bench.study.ppi import ppi_mean
from bench.study.raters import Raters, judge_raters
from bench.study.strengths import fit, strengths
from bench.study.votes import Item, Vote
from bench.study.winrates import method_rates, rate_of, win_rates

STUDY = World()
WORLDS = {
    "24 raters, 40 prompts": STUDY,
    "10 raters, 20 prompts": World(raters=10, prompts=20),
    "100 raters, 200 prompts": World(raters=100, prompts=200),
    "12 raters, 12 prompts, strong effects": World(raters=12, prompts=12, per_rater=24, prompt_sd=1.0, rater_sd=1.0),
    "no effects of raters or prompts": World(prompt_sd=0.0, rater_sd=0.0),
    "20 % spammers": World(raters=30, spammers=0.2),
    "no ties": World(tie=0.0, lapse=0.0),
    "wins of 10 %": World(quality=(0.0, 0.2, 0.5, 3.0)),
    "wins of 3 %": World(quality=(0.0, 0.2, 0.5, 5.0)),
}
EVEN = (0.0, 0.0, 0.0, 0.0)
KINDS = ("coin or tie", "coin", "one side")  # of spammers
REPEATS = 3


def holds(interval: Interval, truth: float) -> float:
    """1 where the interval holds the truth, NaN where there is none."""
    return float(interval.low <= truth <= interval.high) if np.isfinite(interval.low) else np.nan


@lru_cache(maxsize=16)
def true_rate(world: World, a: int, b: int) -> float:
    """Of a over b."""
    return float(limit(world).of_pair(a, b).y.mean())


@lru_cache(maxsize=16)
def true_strengths(world: World) -> tuple[float, ...]:
    """With mean 0."""
    return tuple(fit(limit(world))[: len(world.quality)].tolist())


def rate_line(world: World, a: int, b: int) -> Trials:
    """Coverage of a win rate."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        truth = true_rate(world, a, b)
        return np.array([holds(rate_of(study(rng, world).of_pair(a, b))[0], truth) for _ in range(count)])

    return draw


def method_line(world: World, method: int) -> Trials:
    """Coverage of the win rate of a method against the others."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        truth = method_rates(limit(world))[f"m{method}"].mean
        return np.array([holds(method_rates(study(rng, world))[f"m{method}"], truth) for _ in range(count)])

    return draw


def strength_line(world: World, method: int) -> Trials:
    """Coverage of a strength; a study without finite strengths counts as none."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        truth = true_strengths(world)[method]
        return np.array([holds(strengths(study(rng, world)).strengths[method], truth) for _ in range(count)])

    return draw


def ranks_line(world: World) -> Trials:
    """Whether all intervals of ranks hold the true ranks."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        order = np.argsort(-np.array(true_strengths(world)))
        true = {int(method): place + 1 for place, method in enumerate(order)}
        found = [strengths(study(rng, world)).ranks for _ in range(count)]
        return np.array([all(low <= true[i] <= high for i, (low, high) in enumerate(one)) for one in found])

    return draw


def side_line(world: World) -> Trials:
    """Coverage of the bias to the left."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        truth = side_bias(limit(world)).mean
        return np.array([holds(side_bias(study(rng, world)), truth) for _ in range(count)])

    return draw


def family_line(world: World) -> Trials:
    """Whether any pair of equal methods is called decided, with Holm's correction."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        return np.array([any(one.winner for one in win_rates(study(rng, world))) for _ in range(count)])

    return draw


def family_of_strengths(world: World) -> Trials:
    """The same of strengths."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        return np.array([any(map(any, strengths(study(rng, world)).better)) for _ in range(count)])

    return draw


def ppi_line(labels: int, quality: float, *, win: bool, raters: int = 0) -> Trials:
    """Prediction-powered mean (or win rate) from `labels` prompts with votes of 1,000 with scores.

    `quality` is the correlation of the score with what people see; votes of `raters` have a lean of the rater each.
    """

    def draw(rng: Rng, count: int) -> np.ndarray:
        found = []
        for _ in range(count):
            seen = 0.3 + rng.normal(size=1000)
            score = quality * (seen - 0.3) + np.sqrt(1 - quality**2) * rng.normal(size=1000)
            who = rng.permutation(labels) % raters if raters else None
            lean = 0.5 * rng.normal(size=raters)[who] if raters else 0.0
            label = seen[:labels] + rng.logistic(size=labels) * 0.3 + lean
            truth = 0.3
            if win:
                label, score, truth = (label > 0).astype(float), (score > 0).astype(float), _true_win(raters > 0)
            powered = ppi_mean(label, score[:labels], score[labels:], raters=who)
            found.append(holds(powered.estimate, truth))
        return np.array(found)

    return draw


@lru_cache(maxsize=2)
def _true_win(lean: bool) -> float:
    rng, n = np.random.default_rng(11), 2_000_000
    drawn = 0.3 + rng.normal(size=n) + rng.logistic(size=n) * 0.3 + (0.5 * rng.normal(size=n) if lean else 0.0)
    return float(np.mean(drawn > 0))


def checked(rng: Rng, world: World, checks: int, kind: str = "coin or tie") -> tuple[Raters, np.ndarray]:
    """A study in which each rater has some checks and `REPEATS`: what is said of the raters, and who is a spammer.

    `kind` of spammers: one of three answers at random, one of two, or nine of ten times the left side.
    """
    rater, prompt, pair = questions(rng, world, world.raters)
    again = np.concatenate([np.flatnonzero(rater == one)[:REPEATS] for one in range(world.raters)])
    who, first = raters_of(rng, world, world.raters), len(rater)
    effects = world.prompt_sd * rng.normal(size=(world.prompts, len(world.quality)))
    rows = np.concatenate([np.arange(first), again])
    y, left = answers(rng, world, who, rater[rows], effects[prompt[rows]], pair[rows])
    flipped = left.copy()
    flipped[first:] = -left[again]  # a repeat has its sides exchanged
    y[first:] = answers(rng, world, who, rater[again], effects[prompt[again]], pair[again])[0]
    y = np.where(who.spam[rater[rows]], _spam(rng, kind, flipped), y)
    votes = votes_of(packed(world, rater[rows], prompt[rows], pair[rows], y, flipped))
    items = {f"c{i}": Item(f"c{i}", "preference", "c", "", "m0", "spoiled", check=1.0) for i in range(checks)}
    for number, source in zip(range(first, len(votes)), again.tolist(), strict=True):
        vote, name = votes[number], f"again-{number}"
        votes[number] = replace(vote, item=name, kind="repeat")
        methods = (vote.method_a, vote.method_b)
        items[name] = Item(name, vote.task, vote.prompt_id, "", *methods, repeated_of=votes[source].item)
    for i in range(len(who)):
        side = rng.choice([1.0, -1.0], size=checks)
        lapsed = np.where(rng.random(checks) < who.lapse[i], rng.choice([0.0, 0.5, 1.0], size=checks), 1.0)
        right = _spam(rng, kind, side) if who.spam[i] else lapsed
        votes += [
            Vote(f"c{k}", "preference", f"r{i:03d}", "c", "m0", "spoiled", float(right[k]), shown, 0, 2.0, "check")
            for k, shown in enumerate(np.where(side > 0, "m0", "spoiled").tolist())
        ]
    return judge_raters(votes, items), who.spam


def _spam(rng: Rng, kind: str, left: np.ndarray) -> np.ndarray:
    """Outcomes [N] of somebody who does not look; `left` [N] is 1 where the first method was on the left."""
    if kind == "one side":
        return np.where(rng.random(len(left)) < 0.9, left > 0, left < 0).astype(float)
    return rng.choice([0.0, 1.0] if kind == "coin" else [0.0, 0.5, 1.0], size=len(left))


def votes_of(ballots: Ballots) -> list[Vote]:
    """Ballots as votes."""
    names = ballots.methods
    rows = zip(ballots.a, ballots.b, ballots.y, ballots.raters, ballots.prompts, ballots.left, strict=True)
    return [
        Vote(
            f"{p}-{a}-{b}",
            "preference",
            f"r{r:03d}",
            f"p{p}",
            names[a],
            names[b],
            float(y),
            names[a if side > 0 else b],
            n,
            2.0,
        )
        for n, (a, b, y, r, p, side) in enumerate(rows)
    ]


def spam_line(world: World, checks: int, what: str, kind: str = KINDS[0]) -> Trials:
    """told: spammers are surely there; share: the interval holds it; found, marked: of the spammers, of the others."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        hits = []
        for _ in range(count):
            found, spam = checked(rng, world, checks, kind)
            marked = np.array([one.marked for one in found.raters])
            if what == "told":
                hits.append([float(found.told)])
            elif what == "share":
                hits.append([holds(found.share, world.spammers)])
            else:
                hits.append(marked[spam if what == "found" else ~spam].astype(float).tolist())
        return np.array([value for row in hits for value in row])

    return draw


def lines() -> list[Line]:
    """All lines of the tables."""
    return [*rate_lines(), *other_lines(), *ppi_lines(), *spam_lines()]


def rate_lines() -> list[Line]:
    """Coverage of win rates and strengths, by world."""
    found = []
    for row, world in WORLDS.items():
        draws = {"win rate, m0 and m3": rate_line(world, 0, 3)}
        if "wins of" not in row:
            draws["win rate, m0 and m1"] = rate_line(world, 0, 1)
            draws |= {f"strength of m{i}": strength_line(world, i) for i in (0, 3)}
        found += [cell("study", row, what, draw, 0.93, 0.97, trials=2000) for what, draw in draws.items()]
    return found


def other_lines() -> list[Line]:
    """The method's mean rate, the side, ranks, and wrong decisions between four equal methods."""
    found = []
    for raters, prompts in ((24, 40), (10, 20)):
        column = f"{raters} raters, {prompts} prompts"
        world, even = WORLDS[column], World(quality=EVEN, raters=raters, prompts=prompts)
        for row, draw, low, high in (
            ("win rate of m2 against the others", method_line(world, 2), 0.93, 0.97),
            ("bias to the left", side_line(world), 0.93, 0.97),
            ("all ranks", ranks_line(world), 0.95, 1.0),
            ("any win rate decided wrongly, 4 equal methods", family_line(even), 0.0, 0.06),
            ("any strength decided wrongly, 4 equal methods", family_of_strengths(even), 0.0, 0.06),
        ):
            found.append(cell("of a study", row, column, draw, low, high, trials=2000))
    return found


def ppi_lines() -> list[Line]:
    """Coverage of prediction-powered intervals, by what the score knows."""
    found = []
    for labels, low, high in ((20, 0.92, 1.0), (100, 0.93, 0.97)):
        group = f"{labels} prompts with votes"
        for quality in (0.9, 0.5, 0.0):
            for what, win in (("mean", False), ("win rate", True)):
                draw = ppi_line(labels, quality, win=win)
                found.append(cell(group, f"correlation {quality:g}", what, draw, low, high))
        row = "0.9, 5 votes of each rater, who lean each their own way"
        draw = ppi_line(labels, 0.9, win=True, raters=labels // 5)
        found.append(cell(group, row, "win rate", draw, low, high))
    return found


def spam_lines() -> list[Line]:
    """Who is marked, and whether it is told."""
    found = []
    spam, clean = World(raters=30, spammers=0.2), World(raters=30)
    for kind in KINDS:
        name = f"{kind}, 30 raters, 4 checks each"
        low = 0.6 if kind == "coin" else 0.8
        for what, told, limits in (
            ("told", "spammers told where they are 20 %", (0.9, 1.0)),
            ("found", "a spammer is marked", (low, 1.0)),
            ("marked", "another rater is marked", (0.0, 0.06)),
        ):
            found.append(Line(f"{told}, {name}", spam_line(spam, 4, what, kind), *limits, 400, 100))
    name = "30 raters, 4 checks each"
    found.append(Line(f"spammers told where there are none, {name}", spam_line(clean, 4, "told"), 0.0, 0.05, 400, 100))
    found.append(Line(f"a rater is marked where none is, {name}", spam_line(clean, 4, "marked"), 0, 0.05, 400, 100))
    return found


if __name__ == "__main__":
    main(__doc__, lines(), "rate")
