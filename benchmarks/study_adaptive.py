"""What an adaptive study costs beside a balanced one, and whether its intervals hold (about 15 minutes on one core).

    python benchmarks/study_adaptive.py [--only TEXT] [--trials N] [--save FILE]
    python benchmarks/study_adaptive.py --votes [--trials N] [--save FILE]

Studies of 4 methods, no two of them equal, with new raters in every batch (`study_world.py`). The first form is a table
of rates: coverage after a fixed number of votes, and wrong decisions when one stops as soon as all pairs are decided.
The second form counts votes: both designs look at the same numbers of votes, spend the same error at each look
(`bench.study.adaptive.looks`), and stop when all six pairs are decided or at the cap.
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

from bench.study.adaptive import FLOOR, Pair, chances, decided, looks, weighted
from bench.study.ballots import Ballots
from bench.study.strengths import fit, strengths
from bench.study.winrates import win_rates

CAP, BATCH = 36_000, 120  # votes; a batch is 10 raters of 12 votes
WORLDS = {
    "one close pair": World(quality=(0.0, 0.3, 1.0, 1.8), prompts=400, per_rater=12),
    "two close pairs": World(quality=(0.0, 0.35, 1.2, 1.55), prompts=400, per_rater=12),
    "equal steps": World(quality=(0.0, 0.35, 0.7, 1.05), prompts=400, per_rater=12),
}
EVEN = World(quality=(0.0, 0.0, 0.0, 0.0), prompts=200)
SMALL = World(quality=(0.0, 0.2, 0.5, 0.9), prompts=100)


@dataclass
class Running:
    """A study under way."""

    votes: Ballots
    done: dict[Pair, str]


def batches(rng: Rng, world: World, total: int, *, adaptive: bool, stop: bool, batch: int = BATCH) -> Running:
    """A study with new chances after each batch; `stop` at the first look when all pairs are decided."""
    names = [f"m{i}" for i in range(len(world.quality))]
    effects = world.prompt_sd * rng.normal(size=(world.prompts, len(names)))
    plan, parts, pairs = looks(total), [], world.pairs
    state: Running | None = None
    count, waiting = batch // world.per_rater, list(plan.votes)
    for part in range(total // batch):
        done = {} if state is None else state.done
        table = chances(names, None if state is None else state.votes, FLOOR if adaptive else 1.0, done=done)
        own = np.repeat(np.arange(count), world.per_rater)
        share = np.array(list(table.values()))
        even = np.argsort(rng.random((len(own) // len(pairs) + 1, len(pairs))), axis=1).ravel()[: len(own)]
        which = rng.choice(len(pairs), size=len(own), p=share) if adaptive else even
        prompt = np.argsort(rng.random((count, world.prompts)), axis=1)[:, : world.per_rater].ravel()
        y, left = answers(rng, world, raters_of(rng, world, count), own, effects[prompt], pairs[which])
        parts.append((own + part * count, prompt, pairs[which], y, left, share[which]))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        votes = packed(world, *columns[:5])
        state = Running(replace(votes, chances=columns[5]) if adaptive else votes, done)
        if stop and len(state.votes) >= waiting[0]:
            waiting = [votes for votes in waiting if votes > len(state.votes)]
            found = decided(win_rates(weighted(state.votes)), plan.alpha)
            state.done = {**found, **done}
            if len(state.done) == len(pairs):
                break
    assert state is not None
    return state


@lru_cache(maxsize=8)
def truth_of(world: World) -> tuple[dict[Pair, float], np.ndarray]:
    """Win rates and strengths of 10^6 votes."""
    votes = limit(world)
    rates = {(f"m{a}", f"m{b}"): float(votes.of_pair(a, b).y.mean()) for a, b in votes.pairs}
    return rates, fit(votes)


def rate_line(pair: Pair, *, plain: bool = False) -> Callable[[Rng, int], np.ndarray]:
    """Coverage of a win rate of an adaptive study of 3,600 votes; `plain`: with no weights."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        hits = []
        for _ in range(count):
            votes = batches(rng, SMALL, 3600, adaptive=True, stop=False, batch=300).votes
            found = {(one.a, one.b): one.rate for one in win_rates(votes if plain else weighted(votes))}[pair]
            hits.append(found.low <= truth_of(SMALL)[0][pair] <= found.high)
        return np.array(hits)

    return draw


def strength_line(method: int) -> Callable[[Rng, int], np.ndarray]:
    """Coverage of a strength of an adaptive study of 3,600 votes."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        hits = []
        for _ in range(count):
            votes = weighted(batches(rng, SMALL, 3600, adaptive=True, stop=False, batch=300).votes)
            found = strengths(votes).strengths[method]
            hits.append(found.low <= truth_of(SMALL)[1][method] <= found.high)
        return np.array(hits)

    return draw


def wrong_line(world: World, *, adaptive: bool) -> Callable[[Rng, int], np.ndarray]:
    """Whether any pair is decided for the wrong method (of equal ones: decided at all) by 12,000 votes."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        found = [batches(rng, world, 12_000, adaptive=adaptive, stop=True, batch=300).done for _ in range(count)]
        even = len(set(world.quality)) == 1
        return np.array(
            [bool(one) if even else any(winner != pair[1] for pair, winner in one.items()) for one in found]
        )

    return draw


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
    balanced, adaptive = (batches(rng, world, CAP, adaptive=one, stop=True) for one in (False, True))
    votes = {"balanced": len(balanced.votes), "adaptive": len(adaptive.votes)}
    complete = [len(one.done) == len(world.pairs) for one in (balanced, adaptive)]
    return {"world": name, "trial": trial, **votes, "decided": complete, "same": balanced.done == adaptive.done}


def lines() -> list[Line]:
    """The table of rates."""
    found = [
        Line(f"win rate of m0 over m{b}, adaptive, 3,600 votes", rate_line(("m0", f"m{b}")), 0.93, 0.97, 400, 100)
        for b in (1, 3)
    ]
    found += [Line(f"strength of m{i}, adaptive, 3,600 votes", strength_line(i), 0.93, 0.97, 400, 100) for i in (0, 3)]
    name = "4 equal methods, 20 looks up to 12,000 votes"
    found.append(Line(f"any pair decided, {name}, adaptive", wrong_line(EVEN, adaptive=True), 0.0, 0.06, 400, 50))
    found.append(Line(f"any pair decided, {name}, balanced", wrong_line(EVEN, adaptive=False), 0.0, 0.06, 400, 50))
    close = WORLDS["one close pair"]
    found.append(
        Line("any winner wrong, one close pair, adaptive", wrong_line(close, adaptive=True), 0.0, 0.05, 400, 50)
    )
    return found


if __name__ == "__main__":
    if "--votes" in sys.argv:
        given = dict(zip(sys.argv, sys.argv[1:], strict=False))
        count_votes(int(given.get("--trials", 100)), Path(given["--save"]) if "--save" in given else None)
    else:
        main(__doc__, lines(), "rate")
