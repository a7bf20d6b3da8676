"""What an adaptive study costs beside a balanced one, and whether its intervals hold (about 40 minutes on one core).

    python benchmarks/study_adaptive.py [--only TEXT] [--trials N] [--save FILE]
    python benchmarks/study_adaptive.py --votes [--trials N] [--save FILE]

Studies of 4 methods with new raters in every batch (`study_world.py`), and new chances at each look. The first form is
a table of rates: coverage after a fixed number of votes and when one stops as soon as all pairs are decided, and wrong
decisions. The second form counts votes: both designs look at the same numbers of votes, spend the same error at each
look (`bench.study.adaptive.planned_looks`), and stop when all six pairs are decided or at the cap.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from simulate import Line, Rng, main
from study_world import World, answers, limit, packed, raters_of

from bench.study.adaptive import FLOOR, Pair, Verdicts, at_looks, chances, draw, planned_looks, weighted
from bench.study.ballots import Ballots
from bench.study.strengths import fit, strengths
from bench.study.winrates import win_rates

CAP, BATCH = 36_000, 120  # votes; a batch is 10 raters of 12 votes
WORLDS = {
    "one close pair": World(quality=(0.0, 0.3, 1.0, 1.8), prompts=400, per_rater=12),
    "two close pairs": World(quality=(0.0, 0.35, 1.2, 1.55), prompts=400, per_rater=12),
    "equal steps": World(quality=(0.0, 0.35, 0.7, 1.05), prompts=400, per_rater=12),
}
NULLS = {
    "4 equal methods": World(quality=(0.0, 0.0, 0.0, 0.0), prompts=200, per_rater=12),
    "2 equal, 2 far": World(quality=(0.0, 0.0, 1.0, 2.0), prompts=200, per_rater=12),
    "2 and 2 equal": World(quality=(0.0, 0.0, 1.0, 1.0), prompts=200, per_rater=12),
    "one close pair": WORLDS["one close pair"],
}
SMALL = World(quality=(0.0, 0.2, 0.5, 0.9), prompts=100, per_rater=12)
Draw = Callable[[Rng, int], np.ndarray]


@dataclass
class Running:
    """A study under way: its votes, and what its looks found."""

    votes: Ballots
    found: Verdicts


def batches(
    rng: Rng, world: World, total: int, *, adaptive: bool = True, stop: bool = True, batch: int = BATCH
) -> Running:
    """A study with new chances after each look; `stop` at the look at which the last pair is decided."""
    names = [f"m{i}" for i in range(len(world.quality))]
    effects = world.prompt_sd * rng.normal(size=(world.prompts, len(names)))
    plan, pairs = planned_looks(total, len(world.pairs)), world.pairs
    parts: list[tuple[np.ndarray, ...]] = []
    number = {(names[a], names[b]): i for i, (a, b) in enumerate(pairs.tolist())}
    count, found = batch // world.per_rater, Verdicts()
    for part in range(total // batch):
        table = chances(names, found.winners, FLOOR if adaptive else 1.0)
        own = np.repeat(np.arange(count), world.per_rater)
        drawn = [one for _ in range(count) for one in draw(rng, table, world.per_rater)]
        which, share = np.array([number[pair] for pair, _ in drawn]), np.array([chance for _, chance in drawn])
        prompt = np.argsort(rng.random((count, world.prompts)), axis=1)[:, : world.per_rater].ravel()
        y, left = answers(rng, world, raters_of(rng, world, count), own, effects[prompt], pairs[which])
        parts.append((own + part * count, prompt, pairs[which], y, left, share))
        if (part + 1) * len(own) >= plan.votes[len(found.taken)]:
            votes = _joined(world, parts, adaptive)
            found = at_looks(votes, plan, found)
            if len(found.taken) == len(plan.votes) or (stop and len(found.winners) == len(pairs)):
                break
    return Running(_joined(world, parts, adaptive), found)


def _joined(world: World, parts: list[tuple[np.ndarray, ...]], adaptive: bool) -> Ballots:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    votes = packed(world, *columns[:5])
    return replace(votes, chances=columns[5]) if adaptive else votes


@lru_cache(maxsize=8)
def truth_of(world: World) -> tuple[dict[Pair, float], np.ndarray]:
    """Win rates and strengths of 10^6 votes."""
    votes = limit(world)
    rates = {(f"m{a}", f"m{b}"): float(votes.of_pair(a, b).y.mean()) for a, b in votes.pairs}
    return rates, fit(votes)


def rate_line(pair: Pair, world: World, total: int, *, stop: bool, plain: bool = False) -> Draw:
    """Coverage of a win rate at the end of an adaptive study; `plain`: with no weights."""

    def draw_hits(rng: Rng, count: int) -> np.ndarray:
        hits = []
        for _ in range(count):
            votes = batches(rng, world, total, stop=stop).votes
            found = {(one.a, one.b): one.rate for one in win_rates(votes if plain else weighted(votes))}[pair]
            hits.append(found.low <= truth_of(world)[0][pair] <= found.high)
        return np.array(hits)

    return draw_hits


def strength_line(method: int, world: World, total: int, *, stop: bool) -> Draw:
    """Coverage of a strength at the end of an adaptive study."""

    def draw_hits(rng: Rng, count: int) -> np.ndarray:
        hits = []
        for _ in range(count):
            found = strengths(weighted(batches(rng, world, total, stop=stop).votes)).strengths[method]
            hits.append(found.low <= truth_of(world)[1][method] <= found.high)
        return np.array(hits)

    return draw_hits


def wrong_line(world: World, *, adaptive: bool) -> Draw:
    """Whether any pair is decided for the wrong method (of equal ones: decided at all) by 12,000 votes."""

    def draw_hits(rng: Rng, count: int) -> np.ndarray:
        found = [batches(rng, world, 12_000, adaptive=adaptive).found.winners for _ in range(count)]
        return np.array([any(_wrong(world, pair, winner) for pair, winner in one.items()) for one in found])

    return draw_hits


def _wrong(world: World, pair: Pair, winner: str) -> bool:
    worth = {f"m{i}": value for i, value in enumerate(world.quality)}
    return worth[winner] <= min(worth[name] for name in pair)


def count_votes(trials: int, saved: Path | None) -> None:
    """The table of votes: mean until all pairs are decided, the ratio, and how often the decisions are the same."""
    known = {}
    if saved is not None and saved.exists():
        rows = [json.loads(line) for line in saved.read_text().splitlines() if line]
        known = {(row["world"], row["trial"]): row for row in rows}
    print("| world | studies | balanced | adaptive | ratio | limits | all pairs decided | same decisions |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, world in WORLDS.items():
        rows = []
        for trial in range(trials):
            row = known.get((name, trial)) or _counted(name, world, trial)
            if (name, trial) not in known and saved is not None:
                with saved.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows.append(row)
        balanced, adaptive = (np.array([row[key] for row in rows], dtype=float) for key in ("balanced", "adaptive"))
        ratio = adaptive.mean() / balanced.mean()
        half = 1.96 * np.std(adaptive - ratio * balanced) / balanced.mean() / np.sqrt(trials)
        every = np.mean([row["decided"] for row in rows], axis=0)
        same = np.mean([row["same"] for row in rows])
        told = f"{balanced.mean():,.0f} | {adaptive.mean():,.0f} | {ratio:.2f} | {ratio - half:.2f}-{ratio + half:.2f}"
        print(f"| {name} | {trials} | {told} | {every[0]:.0%} and {every[1]:.0%} | {same:.0%} |", flush=True)


def _counted(name: str, world: World, trial: int) -> dict[str, object]:
    rng = np.random.default_rng([20261128, list(WORLDS).index(name), trial])
    balanced, adaptive = (batches(rng, world, CAP, adaptive=one) for one in (False, True))
    votes = {"balanced": len(balanced.votes), "adaptive": len(adaptive.votes)}
    complete = [len(one.found.winners) == len(world.pairs) for one in (balanced, adaptive)]
    same = balanced.found.winners == adaptive.found.winners
    return {"world": name, "trial": trial, **votes, "decided": complete, "same": same}


def lines() -> list[Line]:
    """The table of rates."""
    found = []
    for told, world, total, stop in (
        ("all 3,600 votes", SMALL, 3600, False),
        ("stopped when all are decided", WORLDS["two close pairs"], CAP, True),
    ):
        last = len(world.quality) - 1
        for b in (1, last):
            line = rate_line(("m0", f"m{b}"), world, total, stop=stop)
            found.append(Line(f"win rate of m0 over m{b}, {told}", line, 0.93, 0.97, 1000, 100))
        for i in (0, last):
            line = strength_line(i, world, total, stop=stop)
            found.append(Line(f"strength of m{i}, {told}", line, 0.93, 0.97, 1000, 100))
    plain = rate_line(("m0", "m1"), WORLDS["two close pairs"], CAP, stop=True, plain=True)
    found.append(Line("win rate of m0 over m1, stopped, without weights", plain, 0.0, 1.0, 1000, 100))
    for name, world in NULLS.items():
        for adaptive in (True, False):
            told = f"any pair wrong, {name}, {'adaptive' if adaptive else 'balanced'}"
            found.append(Line(told, wrong_line(world, adaptive=adaptive), 0.0, 0.06, 1000, 50))
    return found


if __name__ == "__main__":
    if "--votes" in sys.argv:
        given = dict(zip(sys.argv, sys.argv[1:], strict=False))
        count_votes(int(given.get("--trials", 100)), Path(given["--save"]) if "--save" in given else None)
    else:
        main(__doc__, lines(), "rate")
