"""Intervals for a METHOD of which several checkpoints were trained (seeds), over checkpoints and prompts.

The interval of one checkpoint says how far its mean may move with other prompts; training again moves it as well. In
the two-way layout value[s, p] = mean + seed[s] + prompt[p] + rest[s, p] the variance of the mean is the sum of two
parts, each with degrees of freedom of its own:

    seeds:   MS_seeds / (S P), with S - 1 degrees of freedom; it holds the rest as well
    prompts: the variance over prompts (`bench.analysis.means`), less the share of the rest that is counted already

Two half widths are known for such a sum. MOVER (Zou & Donner 2008) adds the squares of the parts' own half widths: too
wide where both parts matter. Satterthwaite (1946) takes one t for the sum: too narrow where seeds dominate, as their
few degrees of freedom are underestimated. The mean of the two holds the truth in 94 to 97 % from three checkpoints up
(docs/statistics.md); with two checkpoints it does not, and MOVER is taken alone.

One t with the smaller number's degrees of freedom for the whole variance would be right only where seeds dominate, and
holds the truth in 100 % where prompts do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.bounded import Bounds
from bench.analysis.extrapolation import BlockMean
from bench.analysis.intervals import ClusterMean, cluster_difference, cluster_mean
from bench.analysis.stats import Interval

Floats = NDArray[np.float64]

ONE_CHECKPOINT = "one checkpoint was trained: the interval is that checkpoint's, training again may move it further"
_ENOUGH = 3  # checkpoints of each method that has several, for the narrower half width
_LEAST_P = 1e-12


@dataclass(frozen=True, slots=True)
class TwoWay:
    """Mean over checkpoints and prompts, with what its limits rest on."""

    prompts: ClusterMean | BlockMean  # of the means over the checkpoints
    clusters: int
    spread: float  # variance of the mean over prompts
    seeds: tuple[tuple[float, int], ...]  # per side with several checkpoints: variance of its mean, checkpoints
    rest: float  # of `spread`, what the seeds' parts hold already
    lone: bool = False  # a side that was trained has one checkpoint: nothing is known of its training again

    @property
    def mean(self) -> float:
        """Mean over all checkpoints and prompts."""
        return self.prompts.mean

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper limit, within the metric's range; NaN where there is no interval over prompts."""
        inner = self.prompts.interval(level)
        bounds = self.prompts.bounds if isinstance(self.prompts, ClusterMean) else None
        share = max(0.0, 1 - self.rest / self.spread) if self.spread > 0 else 1.0
        below, above = self.mean - inner.low, inner.high - self.mean
        seeds, narrower = self._seeds(level), self._narrower(level, share)
        low = self.mean - narrower * math.sqrt(share * below**2 + seeds)
        high = self.mean + narrower * math.sqrt(share * above**2 + seeds)
        return bounds.cut(low, high) if bounds else (low, high)

    def _seeds(self, level: float) -> float:
        """Squared half width that training again makes; of two methods with Welch's degrees of freedom."""
        variance = sum(one for one, _ in self.seeds)
        if variance == 0:
            return 0.0
        return _t(level, variance**2 / sum(one**2 / (count - 1) for one, count in self.seeds)) ** 2 * variance

    def _narrower(self, level: float, share: float) -> float:
        """The mean of MOVER's and Satterthwaite's half width over MOVER's, for symmetric values."""
        variance, prompts = sum(one for one, _ in self.seeds), share * self.spread
        if variance == 0 or prompts == 0 or min(count for _, count in self.seeds) < _ENOUGH:
            return 1.0
        parts = prompts**2 / (self.clusters - 1) + sum(one**2 / (count - 1) for one, count in self.seeds)
        satterthwaite = _t(level, (prompts + variance) ** 2 / parts) ** 2 * (prompts + variance)
        mover = _t(level, self.clusters - 1) ** 2 * prompts + self._seeds(level)
        return 0.5 + 0.5 * min(1.0, math.sqrt(satterthwaite / mover))

    def interval(self, level: float = 0.95) -> Interval:
        """`n` values of `clusters` prompts; the reason says so where a trained side has one checkpoint."""
        inner, (low, high) = self.prompts.interval(level), self.limits(level)
        return replace(inner, low=low, high=high, reason=inner.reason or (ONE_CHECKPOINT if self.lone else None))

    def p(self, at: float = 0.0) -> float:
        """Two-sided p that the true mean is `at`: 1 - the level at which the interval just excludes it."""
        from scipy.optimize import brentq

        def inside(log_p: float) -> float:
            low, high = self.limits(1 - math.exp(log_p))
            return min(at - low, high - at)

        least = math.log(_LEAST_P)
        if math.isnan(inside(-1.0)):
            return math.nan
        if inside(least) <= 0:
            return _LEAST_P
        return math.exp(brentq(inside, least, -1e-9)) if inside(-1e-9) < 0 else 1.0


def two_way(
    values: ArrayLike, clusters: ArrayLike | None = None, bounds: Bounds | None = None, *, trained: bool = True
) -> TwoWay:
    """Of values [checkpoints, prompts] of one method, all finite; one checkpoint has an interval over prompts only.

    Prompts with the same of `clusters` [prompts] are one (default: none are). `trained`: False for a base model, of
    which there is but one.
    """
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    labels = np.arange(array.shape[1]) if clusters is None else np.asarray(clusters)
    found = cluster_mean(array.mean(axis=0), labels, bounds)
    part, rest, spread = _parts(array, labels)
    return TwoWay(replace(found, scored=array.size), found.sums.size, spread, part, rest, trained and not part)


def two_way_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    bounds: Bounds | None = None,
    *,
    trained: tuple[bool, bool] = (True, True),
) -> TwoWay:
    """Of b - a, values [checkpoints, prompts] each over the same prompts; the numbers of checkpoints may differ."""
    first, second = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (a, b))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the methods must have the same prompts, got {first.shape[1]} and {second.shape[1]}")
    labels = np.arange(first.shape[1]) if clusters is None else np.asarray(clusters)
    found = cluster_difference(first.mean(axis=0), second.mean(axis=0), labels, bounds)
    (seeds_a, rest_a, _), (seeds_b, rest_b, _) = _parts(first, labels), _parts(second, labels)
    _, _, spread = _parts(second.mean(axis=0)[None] - first.mean(axis=0)[None], labels)
    lone = any(one and not seeds for one, seeds in zip(trained, (seeds_a, seeds_b), strict=True))
    found = replace(found, scored=min(first.size, second.size))
    return TwoWay(found, found.sums.size, spread, seeds_a + seeds_b, rest_a + rest_b, lone)


def blocks_two_way(values: ArrayLike, n: int, *, trained: bool = True) -> TwoWay:
    """Of a set metric on n images from its pseudo-values [checkpoints, blocks of prompts]: Student's t over blocks."""
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    part, rest, spread = _parts(array, np.arange(array.shape[1]))
    found = BlockMean(float(array.mean()), math.sqrt(spread), array.shape[1], n)
    return TwoWay(found, array.shape[1], spread, part, rest, trained and not part)


def blocks_two_way_difference(a: ArrayLike, b: ArrayLike, n: int, *, trained: tuple[bool, bool]) -> TwoWay:
    """Of b - a of a set metric, pseudo-values [checkpoints, blocks] of each over the same blocks."""
    first, second = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (a, b))
    labels = np.arange(first.shape[1])
    (seeds_a, rest_a, _), (seeds_b, rest_b, _) = _parts(first, labels), _parts(second, labels)
    change = second.mean(axis=0) - first.mean(axis=0)
    spread = _parts(change[None], labels)[2]
    found = BlockMean(float(change.mean()), math.sqrt(spread), labels.size, n)
    lone = any(one and not seeds for one, seeds in zip(trained, (seeds_a, seeds_b), strict=True))
    return TwoWay(found, labels.size, spread, seeds_a + seeds_b, rest_a + rest_b, lone)


def _parts(array: Floats, labels: NDArray[np.generic]) -> tuple[tuple[tuple[float, int], ...], float, float]:
    """((variance of the mean with seeds, checkpoints),), the rest's variance of the mean, and that over prompts."""
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    seeds, prompts = array.shape[0], counts.size
    means = array.mean(axis=1)
    sums = np.stack([np.bincount(index, weights=one) for one in array])
    # What a cluster adds to the mean of a checkpoint, as if all clusters were of one size (see `means.ratio_stats`).
    values = means[:, None] + (sums - means[:, None] * counts) / counts.mean()
    by_prompt, whole = values.mean(axis=0), float(means.mean())
    spread = float(by_prompt.var(ddof=1)) / prompts if prompts > 1 else 0.0
    if seeds < 2:
        return (), 0.0, spread
    rest = values - means[:, None] - by_prompt[None, :] + whole
    residual = float((rest**2).sum()) / ((seeds - 1) * max(1, prompts - 1)) / (seeds * prompts)
    return ((float(means.var(ddof=1)) / seeds, seeds),), residual, spread


def _t(level: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))
