"""How often `bench run --until decided` decides wrongly, and which part of the prompts it makes.

    python benchmarks/adaptive_runs.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

One line on a difference, looked at after 32, 45, 64, 91, ... prompts and after all N. Error: there is no difference,
and it is decided either way. Saving: the mean part of the prompts that is made where the true difference is twice what
N prompts detect; an end without a decision has made all. "Against": the long tail points away from the difference.
Accuracies are of two methods, 5 images a prompt, with a chance of the prompt's own and of the images'; "rare losers":
one prompt in 20 loses what the others gain. Then eight lines at once, by the verdicts that stop a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from made_runs import UNIT, data, rules, summaries
from simulate import Line, Rng, cell, main
from worlds import WORLDS, cluster

from bench.analysis.intervals import cluster_difference
from bench.analysis.means import limits, mean_stats
from bench.analysis.pilot import Spread
from bench.gate.bounds import verdicts
from bench.gate.ledger import look_level
from bench.pipeline.adaptive import looks

Judge = Callable[[np.ndarray, float], int]  # values of the prompts so far, level -> 1, -1 or 0: undecided
World = Callable[[Rng, int, float], np.ndarray]  # rng, prompts, effect in standard deviations -> differences


def by_mean(values: np.ndarray, level: float) -> int:
    """The side on which the mean surely lies."""
    low, high = limits(mean_stats(values), level)
    return int(low > 0) - int(high < 0)


def by_shares(values: np.ndarray, level: float) -> int:
    """The same of differences of shares, whose range is known."""
    above, below = cluster_difference(np.zeros(len(values)), values, np.arange(len(values)), UNIT).one_sided()
    return int(above < (1 - level) / 2) - int(below < (1 - level) / 2)


def plain(name: str, side: float = 1.0) -> World:
    """A world of `WORLDS`, with the effect on the given side of its tail."""
    draw, spread = WORLDS[name], spread_of(name)
    return lambda rng, prompts, effect: effect * spread + side * draw(rng, (prompts,))


@cache
def spread_of(name: str) -> float:
    """Standard deviation, of a million values."""
    return float(WORLDS[name](np.random.default_rng(0), (1_000_000,)).std())


def losers(rng: Rng, prompts: int, effect: float) -> np.ndarray:
    """One prompt in 20 loses 1, the others gain as much on average; noise 0.3."""
    return effect * math.hypot(0.3, 0.218) - cluster(0.05, 0.3)(rng, (prompts,))


def accuracy(mean: float, concentration: float) -> World:
    """Shares of 5 images of two methods; an effect of 1 is the standard deviation of the difference."""
    spread = math.sqrt(2 * mean * (1 - mean) / 5)

    def draw(rng: Rng, prompts: int, effect: float) -> np.ndarray:
        chance = rng.beta(mean * concentration, (1 - mean) * concentration, prompts)
        lower = np.clip(chance - effect * spread, 0, 1)
        return (rng.binomial(5, chance, prompts) - rng.binomial(5, lower, prompts)) / 5

    return draw


def ended(world: World, judge: Judge, prompts: int, effect: float) -> Callable[[Rng], tuple[int, int]]:
    """(decision, prompts made) of one run."""
    sizes = looks(prompts)

    def one(rng: Rng) -> tuple[int, int]:
        values, found = world(rng, prompts, effect), 0
        for look, number in enumerate(sizes, 1):
            found = judge(values[:number], look_level(look, 1, len(sizes)))
            if found:
                return found, number
        return 0, prompts

    return one


def detects(prompts: int, skew: float) -> float:
    """What `bench plan` says of N prompts, in standard deviations of the prompts' differences."""
    return Spread("x", "group", "", 1.0, math.nan, skew, math.nan, prompts, 1).detects(prompts, 1)


def wrong(world: World, judge: Judge, prompts: int) -> Callable[[Rng, int], np.ndarray]:
    """Whether a difference of nothing is decided."""
    one = ended(world, judge, prompts, 0.0)
    return lambda rng, count: np.array([one(rng)[0] != 0 for _ in range(count)])


def used(world: World, judge: Judge, prompts: int, skew: float) -> Callable[[Rng, int], np.ndarray]:
    """The part of the prompts that is made where the difference is 2 x detects; all where the decision is wrong."""
    one = ended(world, judge, prompts, 2 * detects(prompts, skew))

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = [one(rng) for _ in range(count)]
        return np.array([number / prompts if side > 0 else 1.0 for side, number in found])

    return trials


def together(effect: float, prompts: int) -> Callable[[Rng, int], np.ndarray]:
    """Eight lines of a thresholds file on one run that grows: any decided wrongly, or the part of the prompts made."""
    names = tuple("abcdefgh")
    bounds = dict.fromkeys("efgh", UNIT)
    text = "\n".join(f"[m.{name}]\nmin = {0.8 if name in bounds else 0.0}" for name in names)
    limit, sizes = rules(text, ["m"], names), looks(prompts)

    def one(rng: Rng) -> tuple[bool, float]:
        shared = rng.normal(size=(prompts, 1))
        whole = {
            name: (rng.random((prompts, 5)) < rng.beta(4, 1 / (1 + 3 * effect), (prompts, 1))).astype(float)
            if name in bounds
            else 0.6 * shared + rng.normal(size=(prompts, 5)) + effect
            for name in names
        }
        for look, number in enumerate(sizes, 1):
            part = {name: values[:number] for name, values in whole.items()}
            found = verdicts(limit, summaries(data("m", part, 1, bounds)), None, look=look, of=len(sizes))
            if effect == 0 and any(one.status in ("passed", "failed") for one in found):
                return True, 1.0
            if all(one.status == "passed" for one in found):
                return False, number / prompts
        return False, 1.0

    index = 0 if effect == 0 else 1
    return lambda rng, count: np.array([float(one(rng)[index]) for _ in range(count)])


KINDS: dict[str, tuple[World, Judge, float, float]] = {
    "normal": (plain("normal"), by_mean, 0.06, 0.5),
    "t, 3 degrees of freedom": (plain("t, 3 degrees of freedom"), by_mean, 0.06, 0.5),
    "skewness 2 (exponential), with": (plain("skewness 2 (exponential)"), by_mean, 0.06, 0.5),
    "skewness 2 (exponential), against": (plain("skewness 2 (exponential)", -1.0), by_mean, 0.06, 0.5),
    "skewness 2 (lognormal 0.55), against": (plain("skewness 2 (lognormal 0.55)", -1.0), by_mean, 0.06, 0.5),
    "accuracy 0.8, prompts differ": (accuracy(0.8, 2), by_shares, 0.05, 0.5),
    "accuracy 0.9, prompts alike": (accuracy(0.9, 50), by_shares, 0.05, 0.5),
    "accuracy 0.97, prompts differ": (accuracy(0.97, 2), by_shares, 0.05, math.inf),
    "lognormal(1), against": (plain("lognormal(1)", -1.0), by_mean, 1.0, math.inf),
    "rare losers": (losers, by_mean, 1.0, math.inf),
}


def lines() -> list[Line]:
    """Errors, and beside them what is saved."""
    made = []
    for name, (world, judge, most, share) in KINDS.items():
        for prompts in (32, 128, 512):
            group, of = "bench run --until decided", f"N = {prompts}"
            draw = wrong(world, judge, prompts)
            made.append(cell(group, name, f"error, {of}", draw, 0.0, most, trials=1000, part=500))
            if prompts > 32:
                draw = used(world, judge, prompts, 2.0 if "skewness 2" in name else 0.0)
                more = {"trials": 1000 if judge is by_mean else 400, "part": 200, "mean": True}
                made.append(cell(group, name, f"part made, {of}", draw, 0.0, min(share, 1.0), **more))
    group, name, more = "bench run --until decided", "eight lines at once, by verdicts", {"trials": 200, "part": 50}
    made.append(cell(group, name, "error, N = 128", together(0.0, 128), 0.0, 0.06, **more))
    draw = together(1.0, 128)
    made.append(cell(group, name, "part made, N = 128", draw, 0.0, 1.0, mean=True, **more))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
