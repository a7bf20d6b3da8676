"""How often what decides is wrong, and what it saves: missing values, nightly looks, plans, adaptive runs.

    python benchmarks/gate_decisions.py [--only TEXT] [--trials N] [--save FILE]

Worlds: differences of prompts that are normal, of Student's t3, or skewed (gamma, skewness 2). "detects" is the
smallest difference that the fixed number of prompts tells with 90 % probability.
"""

from __future__ import annotations

import math

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.estimand import Units, pair
from bench.analysis.means import limits, mean_stats
from bench.analysis.pilot import Spread
from bench.analysis.stats import POWER, t_quantile
from bench.gate.ledger import look_level

PROMPTS, SAMPLES, LINES, NIGHTS = 32, 5, 48, 60


def draw(rng: Rng, world: str, *shape: int) -> np.ndarray:
    """Values of mean 0 and variance 1."""
    if world == "t3":
        return rng.standard_t(3, size=shape) / math.sqrt(3)
    return rng.normal(size=shape) if world == "normal" else rng.gamma(1.0, size=shape) - 1.0


def detects(prompts: int, level: float = 0.95) -> float:
    """In standard deviations of the prompts' differences."""
    return (t_quantile(0.5 + level / 2, prompts - 1) + t_quantile(POWER, prompts - 1)) / math.sqrt(prompts)


def missing(worst: bool, shared: bool):
    """Whether identical images of which a fifth of one side's values is missing pass, fail or are marked."""

    def trials(rng: Rng, count: int) -> np.ndarray:
        hits = np.zeros(count, dtype=bool)
        for trial in range(count):
            values = rng.normal(size=(PROMPTS, 1)) + 0.6 * rng.normal(size=(PROMPTS, SAMPLES))
            gone = values < np.quantile(values, 0.2) if worst else rng.random(values.shape) < 0.2
            prompts, clusters = tuple(map(str, range(PROMPTS))), np.arange(PROMPTS)
            noise = ("1",) if shared else None
            a = Units(prompts, values, clusters, None, noise)
            found = pair(a, Units(prompts, np.where(gone, np.nan, values), clusters, None, noise))
            least, most = found.least(), found.most()
            passes = -least.low <= 0.1 or most.high <= 0.1  # max_drop = 0.1, either of both as the baseline
            fails = shared and (found.interval().low > 0.1 or found.interval().high < -0.1)
            hits[trial] = passes or fails or found.p() < 0.05
        return hits

    return trials


def nightly(rng: Rng, count: int) -> np.ndarray:
    """Whether any of 48 lines fails in any of 60 nights in which nothing but the seed changes; nothing is allowed."""
    hits = np.zeros(count, dtype=bool)
    for trial in range(count):
        anchor = rng.normal(size=(LINES, 1, PROMPTS))
        drop = mean_stats(anchor - rng.normal(size=(LINES, NIGHTS, PROMPTS)))
        low, _ = limits(drop, np.array([look_level(night, LINES) for night in range(1, NIGHTS + 1)]))
        hits[trial] = bool((low > 0).any())
    return hits


def eroded(rng: Rng, count: int) -> np.ndarray:
    """Whether a fall of 0.4 x detects a night is caught against the anchor by night 8."""
    fall = 0.4 * math.sqrt(2) * detects(PROMPTS, 1 - 0.05 / LINES)
    nights = np.arange(1, 9)
    anchor, now = rng.normal(size=(count, 1, PROMPTS)), rng.normal(size=(count, 8, PROMPTS))
    drop = mean_stats(anchor - now + fall * nights[None, :, None])
    low, _ = limits(drop, np.array([look_level(int(night), LINES) for night in nights]))
    return (low > 0).any(axis=1)


def planned(world: str):
    """Whether as many prompts as a pilot of 64 asks for decide the difference that was asked for."""

    def trials(rng: Rng, count: int) -> np.ndarray:
        hits = np.zeros(count, dtype=bool)
        for trial in range(count):
            pilot = draw(rng, world, 64)
            centred = pilot - pilot.mean()
            skew = float((centred**3).mean() / (centred**2).mean() ** 1.5)
            spread = Spread("x", "group", "", float(pilot.var(ddof=1)), math.nan, skew, math.nan, 64, 1)
            low, _ = limits(mean_stats(0.3 + draw(rng, world, int(spread.prompts_for(0.3, 1)))))
            hits[trial] = low > 0
        return hits

    return trials


def until(world: str, prompts: int, effect: float, lines: int = 1):
    """(decided for the wrong side or at all where there is nothing, share of the prompts used, undecided) [trials]."""

    def trials(rng: Rng, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = effect * detects(prompts) + draw(rng, world, count, prompts)
        wrong, used = np.zeros(count, dtype=bool), np.ones(count)
        still, number, look = np.ones(count, dtype=bool), PROMPTS, 1
        while True:
            low, high = limits(mean_stats(values[:, :number]), look_level(look, lines))
            up, down = still & (low > 0), still & (high < 0)
            wrong |= down | (up if effect == 0 else False)
            used[up | down] = number / prompts
            still &= ~(up | down)
            if number >= prompts:
                return wrong, used, still
            number, look = min(2 * number, prompts), look + 1

    return trials


def error(world: str, prompts: int, effect: float):
    return lambda rng, count: until(world, prompts, effect)(rng, count)[0]


def saved(world: str, prompts: int, effect: float):
    """The mean share of prompts that is used; an undecided end has used all of them. The limits are those of a rate."""
    return lambda rng, count: until(world, prompts, effect)(rng, count)[1]


LINES_OF_REPORT = [
    Line("missing at random, same noise: passes, fails or marks", missing(False, True), 0, 0, 500, 250),
    Line("missing the worst fifth, same noise: passes, fails or marks", missing(True, True), 0, 0, 500, 250),
    Line("missing at random, noise not on record", missing(False, False), 0, 0, 500, 250),
    Line("missing the worst fifth, noise not on record", missing(True, False), 0, 0, 500, 250),
    Line("48 lines, 60 nights: any false alarm", nightly, 0, 0.05, 1000, 250),
    Line("erosion of 0.4 x detects a night: caught by night 8", eroded, 0.8, 1, 1000, 1000),
    Line("plan, normal: decides", planned("normal"), 0.85, 1, 1000, 500),
    Line("plan, skewness 2: decides", planned("skewed"), 0.75, 1, 1000, 500),
    *(
        Line(f"until decided, {world}, N = {n}, no effect: decided wrongly", error(world, n, 0.0), 0, 0.06, 2000, 1000)
        for world in ("normal", "t3", "skewed")
        for n in (32, 128, 512)
    ),
    *(
        Line(f"until decided, {world}, N = {n}, 2 x detects: part of the prompts used", saved(world, n, 2.0), 0, 0.5)
        for world in ("normal", "t3", "skewed")
        for n in (128, 512)
    ),
]

if __name__ == "__main__":
    main(__doc__, LINES_OF_REPORT, "rate")
