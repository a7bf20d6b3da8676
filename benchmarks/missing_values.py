"""Whether a value that is missing ever helps: identical images, some of whose values one side lacks.

    python benchmarks/missing_values.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

The pictures of both sides are the same, so a mark, a failed or a passed line on a drop of nothing, a passed dominance,
and a `min` that the whole run does not pass, are all wrong: 0 of 500. Beside it what is still told: images that are
worse or better by 3 standard deviations, with a tenth of the values missing at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from made_runs import UNIT, data, rules, summaries, units
from simulate import Line, Rng, cell, main

from bench.analysis.bounded import Bounds
from bench.analysis.estimand import pair
from bench.gate.bounds import verdicts

PROMPTS, SAMPLES = 32, 5
Values = Callable[[Rng], np.ndarray]
WORLDS: dict[str, tuple[Values, Bounds | None]] = {
    "a reward": (lambda rng: rng.normal(size=(PROMPTS, 1)) + 0.6 * rng.normal(size=(PROMPTS, SAMPLES)), None),
    "a skewed reward": (lambda rng: np.exp(0.8 * rng.normal(size=(PROMPTS, SAMPLES))), None),
    "an accuracy": (lambda rng: (rng.random((PROMPTS, SAMPLES)) < rng.beta(4, 1, (PROMPTS, 1))).astype(float), UNIT),
}


def gone(rng: Rng, values: np.ndarray, how: str) -> np.ndarray:
    """The values without some of them."""
    if how == "at random":
        lost = rng.random(values.shape) < 0.2
    elif how == "a tenth":
        lost = rng.random(values.shape) < 0.1
    elif how == "worst prompts":  # the worst fifth, whole prompts
        lost = np.broadcast_to((np.argsort(np.argsort(values.mean(1))) < PROMPTS // 5)[:, None], values.shape)
    else:  # the worst fifth of the values
        order = values + 1e-9 * rng.random(values.shape)
        lost = order < np.quantile(order, 0.2)
    return np.where(lost, np.nan, values)


def marked(world: str, how: str, shared: bool) -> Callable[[Rng, int], np.ndarray]:
    """Whether the difference has a mark, whichever side lacks values."""
    make, bounds = WORLDS[world]

    def one(rng: Rng) -> bool:
        values = make(rng)
        sides = [
            units(values, bounds, "1" if shared else ""),
            units(gone(rng, values, how), bounds, "1" if shared else ""),
        ]
        return any(pair(a, b).p() < 0.05 for a, b in (sides, sides[::-1]))

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def judged(world: str, how: str, seed: int) -> Callable[[Rng, int], np.ndarray]:
    """Whether the gate decides on a drop or on dominance, or passes a `min` above the whole run's mean."""
    make, bounds = WORLDS[world]
    known = {"q": bounds} if bounds else {}

    def one(rng: Rng) -> bool:
        values = make(rng)
        whole, part = {"q": values}, {"q": gone(rng, values, how)}
        if rng.random() < 0.5:  # the baseline and the other method may be the ones that lack values
            whole, part = part, whole
        least = min(float(np.mean(values)) + 0.02, 0.999 if bounds else math.inf)
        text = f'[m.q]\nmin = {least}\nmax_drop = 0.02\n[m.dominates]\nover = "base"\non = ["q"]\n'
        limits = rules(text, ["m", "base"], ["q"])
        now = summaries(data("m", part, seed, known), data("base", whole, 1, known))
        found = verdicts(limits, now, {"summaries": [data("m", whole, 1, known)]})
        return any(
            one.status == "passed" or (one.status == "failed" and one.rule != "min")
            for one in found
            if one.rule != "min" or np.isnan(part["q"]).any()
        )

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def told(world: str) -> Callable[[Rng, int], np.ndarray]:
    """Whether a large difference is marked although values are missing."""
    make, bounds = WORLDS[world]

    def one(rng: Rng) -> bool:
        values = make(rng)
        change = 3 * values.std() if bounds is None else -values * (rng.random((PROMPTS, SAMPLES)) < 0.9)
        return pair(units(values, bounds, "1"), units(gone(rng, values + change, "a tenth"), bounds, "1")).p() < 0.05

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def lines() -> list[Line]:
    """Nothing may be said of identical images; beside it what is told of others."""
    made, more = [], {"trials": 500, "part": 250}
    for world in WORLDS:
        for how in ("at random", "worst fifth", "worst prompts"):
            group, row = "identical images, values missing", f"{world}, {how}"
            made += [
                cell(group, row, "marked, same noise", marked(world, how, True), 0.0, 0.0, **more),
                cell(group, row, "marked, noise not on record", marked(world, how, False), 0.0, 0.0, **more),
                cell(group, row, "gate, same seed", judged(world, how, 1), 0.0, 0.0, **more),
            ]
        made.append(cell("images that changed, a tenth missing", world, "marked", told(world), 0.8, 1.0, **more))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
