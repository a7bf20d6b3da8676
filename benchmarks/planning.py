"""Whether as many prompts as `bench plan --detect` asks for decide, and how many an oracle would have asked for.

    python benchmarks/planning.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

A pilot of 64 prompts plans for a true difference of 0.3 standard deviations; then a run of that size is judged. The
oracle knows the world: its N is the smallest that decides in 90 %, which is what a plan aims at, found by 4,000 runs a
candidate. "Against": the long tail points away from the difference, which takes more prompts. The plan goes by the side
on which the pilot's difference surely lies, else by the harder side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from made_runs import run
from simulate import Line, Rng, cell, main
from worlds import WORLDS

from bench.analysis.means import mean_stats, two_sided
from bench.analysis.pilot import spreads
from bench.analysis.stats import POWER

PILOT, TARGET, MOST = 64, 0.3, 2000
TURNED = {"with": 1.0, "against": -1.0}


@cache
def spread_of(world: str) -> float:
    """Standard deviation of the world, of a million values."""
    return float(WORLDS[world](np.random.default_rng(0), (1_000_000,)).std())


def decides(values: np.ndarray) -> np.ndarray:
    """Whether the difference is told from zero, on the side where it is."""
    return np.asarray((two_sided(mean_stats(values)) < 0.05) & (values.mean(axis=-1) > 0))


def values(rng: Rng, world: str, side: float, shape: tuple[int, ...]) -> np.ndarray:
    """Differences of mean TARGET and standard deviation 1."""
    return np.asarray(TARGET + side * WORLDS[world](rng, shape) / spread_of(world))


@cache
def oracle(world: str, side: float) -> int:
    """The smallest number of prompts that decides with probability POWER."""
    rng, low, high = np.random.default_rng(1), 4, MOST
    while high - low > 1:
        middle = (low + high) // 2
        enough = decides(values(rng, world, side, (4000, middle))).mean() >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def planned(rng: Rng, world: str, side: float) -> int:
    """What the pilot asks for, by the functions behind `bench plan`: the metric has one value a prompt."""
    base = rng.normal(size=(PILOT, 1))
    other = base + values(rng, world, side, (PILOT, 1))
    (spread,) = spreads([run("base", {"q": base}, kind="group"), run("refl", {"q": other}, kind="group")])
    return int(min(spread.prompts_for(TARGET, 5), MOST))


def trials(world: str, side: float, *, share: bool) -> Callable[[Rng, int], np.ndarray]:
    """Whether the planned run decides; or its N as a multiple of the oracle's."""

    def draw(rng: Rng, count: int) -> np.ndarray:
        found = np.empty(count)
        for trial in range(count):
            prompts = planned(rng, world, side)
            if share:
                found[trial] = prompts / oracle(world, side)
            else:
                found[trial] = float(decides(values(rng, world, side, (prompts,))))
        return found

    return draw


def lines() -> list[Line]:
    """How often it decides, and how much it asks for."""
    made, names = [], ("normal", "t, 3 degrees of freedom", "ordinal", *(n for n in WORLDS if "skewness" in n))
    for world in (*names, "lognormal(1)"):
        tails = TURNED if world not in ("normal", "t, 3 degrees of freedom") else {"": 1.0}
        least = 0.85 if world in ("normal", "ordinal") else 0.75 if "(1)" not in world and "t," not in world else 0.0
        for tail, side in tails.items():
            row, group = f"{world}, {tail}" if tail else world, "bench plan"
            more = {"trials": 1000, "part": 250}
            made.append(cell(group, row, "decides", trials(world, side, share=False), least, 1.0, **more))
            most = 1.5 if least else math.inf
            draw = trials(world, side, share=True)
            made.append(cell(group, row, "N / oracle's", draw, 0.0, most, mean=True, unit="x", **more))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
