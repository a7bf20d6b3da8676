"""Intervals for a METHOD of which several checkpoints were trained (seeds), over checkpoints and prompts.

The interval of one checkpoint says how far its mean may move with other prompts; training again moves it as well. In
the two-way layout value[s, p] = mean + seed[s] + prompt[p] + rest[s, p] the variance of the mean is the sum of two
parts, each with degrees of freedom of its own, so their half widths are combined in squares (MOVER, Zou & Donner 2008):

    seeds:   Student's t with S - 1 degrees of freedom x root of MS_seeds / (S P), which holds the rest as well
    prompts: limits over prompts (`bench.analysis.means`), less the share of the rest that is counted already

One t with the smaller number's degrees of freedom for the whole variance would be right only where seeds dominate, and
holds the truth in 100 % where prompts do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.means import limits, mean_stats
from bench.analysis.stats import Interval

Floats = NDArray[np.float64]

ONE_CHECKPOINT = "one checkpoint was trained: the interval is that checkpoint's, training again may move it further"


@dataclass(frozen=True, slots=True)
class TwoWay:
    """Mean over checkpoints and prompts, with what its limits rest on."""

    prompt_values: Floats  # [P], the mean over checkpoints
    seeds: tuple[tuple[float, int], ...]  # per side with several checkpoints: variance of its mean, checkpoints
    rest: float  # of the variance over prompts, what the seeds' parts hold already

    @property
    def mean(self) -> float:
        """Mean over all checkpoints and prompts."""
        return float(self.prompt_values.mean())

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper limit; NaN where prompts have no spread."""
        stats = mean_stats(self.prompt_values)
        low, high = map(float, limits(stats, level))
        share = max(0.0, 1 - self.rest / float(stats.error) ** 2) if float(stats.error) > 0 else 0.0
        seeds = self._seeds(level)
        below, above = self.mean - low, high - self.mean
        return self.mean - math.sqrt(share * below**2 + seeds), self.mean + math.sqrt(share * above**2 + seeds)

    def _seeds(self, level: float) -> float:
        """Squared half width that training again makes; of two methods with Welch's degrees of freedom."""
        from scipy.special import stdtrit

        variance = sum(one for one, _ in self.seeds)
        if variance == 0:
            return 0.0
        freedom = variance**2 / sum(one**2 / (count - 1) for one, count in self.seeds)
        return float(stdtrit(freedom, 0.5 + level / 2)) ** 2 * variance

    def interval(self, level: float = 0.95) -> Interval:
        """`n` values of `clusters` prompts; the reason says so where no side has several checkpoints."""
        low, high = self.limits(level)
        checkpoints = sum(count for _, count in self.seeds) or 1
        prompts = self.prompt_values.size
        return Interval(self.mean, low, high, prompts * checkpoints, 0, prompts, None if self.seeds else ONE_CHECKPOINT)

    def p(self, at: float = 0.0) -> float:
        """Two-sided p that the true mean is `at`: 1 - the level at which the interval just excludes it."""
        from scipy.optimize import brentq

        def inside(log_p: float) -> float:
            low, high = self.limits(1 - math.exp(log_p))
            return min(at - low, high - at)

        if inside(math.log(1e-12)) <= 0:
            return 1e-12
        return math.exp(brentq(inside, math.log(1e-12), -1e-9)) if inside(-1e-9) < 0 else 1.0


def two_way(values: ArrayLike) -> TwoWay:
    """Of values [checkpoints, prompts] of one method, all finite; one checkpoint has an interval over prompts only."""
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    part, rest = _parts(array)
    return TwoWay(array.mean(axis=0), part, rest)


def two_way_difference(a: ArrayLike, b: ArrayLike) -> TwoWay:
    """Of b - a, values [checkpoints, prompts] each over the same prompts; the numbers of checkpoints may differ."""
    first, second = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (a, b))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the methods must have the same prompts, got {first.shape[1]} and {second.shape[1]}")
    (seeds_a, rest_a), (seeds_b, rest_b) = _parts(first), _parts(second)
    return TwoWay(second.mean(axis=0) - first.mean(axis=0), seeds_a + seeds_b, rest_a + rest_b)


def _parts(array: Floats) -> tuple[tuple[tuple[float, int], ...], float]:
    """((variance of the mean with seeds, checkpoints),) and the rest's share of the variance over prompts."""
    seeds, prompts = array.shape
    if seeds < 2:
        return (), 0.0
    by_seed, by_prompt, whole = array.mean(axis=1), array.mean(axis=0), array.mean()
    rest = array - by_seed[:, None] - by_prompt[None, :] + whole
    residual = float((rest**2).sum()) / ((seeds - 1) * max(1, prompts - 1)) / (seeds * prompts)
    return ((float(by_seed.var(ddof=1)) / seeds, seeds),), residual
