"""Interval and p value of a mean over independent clusters (prompts), in closed form: same values, same verdict.

Two approximations are made and the less favourable one counts, on each side by itself:

- Student's t: right for symmetric values, however heavy their tails;
- Student's t after Hall's cubic transformation (Hall 1992, On the Removal of Skewness by Transformation, g2), which is
  monotone, so that limits are always finite: right for skewed values, too short for heavy tails.

The interval at level 1 - a is the union of both intervals, and p the larger p, computed one side at a time. So p < a
exactly where the interval at level 1 - a excludes zero. The sample's skewness is too small on average where the
population is skewed (it cannot exceed the root of n); the bias-corrected G1 (Joanes & Gill 1998) is therefore enlarged
by `SKEW_FACTOR`. Far out in the tails, where corrected tests look, a correction of second order no longer suffices: a
transformed t beyond the quantile of `FAR_TAIL` is shortened, the more the larger the skewness is. 95 % intervals are
not touched by that. What all of it achieves is measured in docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.stats import t_quantile

Floats = NDArray[np.float64]

SKEW_FACTOR = 1.25
FAR_TAIL = 0.008  # one-sided: where a corrected test begins to look further out than a 95 % interval
FAR_FACTOR = 1.5  # by how much what lies further out is shortened, per unit of the mean's skewness
_NO_SPREAD = 1e-12  # standard deviation below which values are equal, in units of their largest size
_NO_SKEW = 1e-8  # below it the transformation is the identity in double precision


@dataclass(frozen=True, slots=True)
class MeanStats:
    """What the limits of means rest on; all fields have one shape, [...]: vectorised over means.

    `error` is NaN where all clusters have one value: then nothing can be said of others.
    """

    mean: Floats
    error: Floats  # standard error
    skew: Floats  # skewness of the mean: of the clusters' values, over the root of their number
    clusters: int


def mean_stats(values: ArrayLike) -> MeanStats:
    """Of means over the last axis of values [..., n], one finite value a cluster; n >= 2."""
    array = np.asarray(values, dtype=np.float64)
    mean = array.mean(axis=-1)
    return _stats(mean, array - mean[..., None], np.abs(array).max(axis=-1))


def ratio_stats(sums: ArrayLike, counts: ArrayLike) -> MeanStats:
    """Of the mean of all units over clusters with `sums` [..., C] and `counts` [C] of units (ratio estimator).

    The residuals are sums - mean * counts, in the unit of a cluster of average size.
    """
    totals, sizes = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    mean = totals.sum(axis=-1) / sizes.sum()
    residuals = (totals - mean[..., None] * sizes) / sizes.mean()
    return _stats(mean, residuals, np.abs(totals / np.maximum(sizes, 1)).max(axis=-1))


def _stats(mean: Floats, residuals: Floats, size: Floats) -> MeanStats:
    clusters = residuals.shape[-1]
    if clusters < 2:
        raise ValueError(f"an interval over clusters needs two of them, got {clusters}")
    variance = np.mean(residuals**2, axis=-1)
    flat = np.sqrt(variance) <= _NO_SPREAD * size
    variance = np.where(flat, 1.0, variance)
    skew = np.where(flat, 0.0, np.mean(residuals**3, axis=-1) / variance**1.5)
    factor = SKEW_FACTOR * math.sqrt(clusters - 1) / (clusters - 2) if clusters > 2 else 0.0  # G1 over the root of n
    error = np.where(flat, np.nan, np.sqrt(variance / (clusters - 1)))
    return MeanStats(np.asarray(mean), error, skew * factor, clusters)


def one_sided(stats: MeanStats, at: float | Floats = 0.0) -> tuple[Floats, Floats]:
    """p values, each [...], of the claims "the true mean is above `at`" and "... is below `at`".

    Each is the larger of Student's and Hall's; NaN where the values have no spread.
    """
    from scipy.special import stdtr

    t = (stats.mean - at) / stats.error
    k = stats.skew
    turned = _shortened(t + k * t**2 / 3 + k**2 * t**3 / 27 + k / 6, stats)
    freedom = stats.clusters - 1
    return stdtr(freedom, -np.minimum(t, turned)), stdtr(freedom, np.maximum(t, turned))


def two_sided(stats: MeanStats, at: float | Floats = 0.0) -> Floats:
    """p [...] that the true mean is `at`: twice the smaller one-sided p, at most 1. NaN without spread."""
    above, below = one_sided(stats, at)
    return np.asarray(np.minimum(2 * np.minimum(above, below), 1.0))


def limits(stats: MeanStats, level: float | Floats = 0.95) -> tuple[Floats, Floats]:
    """Lower and upper limits, each [...]: the set of all `at` with `two_sided` >= 1 - level. NaN without spread."""
    from scipy.special import stdtrit

    wanted = stdtrit(stats.clusters - 1, 0.5 + np.asarray(level) / 2)
    further = _lengthened(wanted, stats)
    low = np.maximum(wanted, _turned_back(further, stats.skew))
    high = np.maximum(wanted, -_turned_back(-further, stats.skew))
    return stats.mean - stats.error * low, stats.mean + stats.error * high


def _far(clusters: int) -> float:
    return t_quantile(1 - FAR_TAIL, clusters - 1)


def _shortened(x: Floats, stats: MeanStats) -> Floats:
    """Transformed t with what lies far out divided by 1 + FAR_FACTOR |skew|: monotone, so limits stay limits."""
    size, far = np.abs(x), _far(stats.clusters)
    excess = np.maximum(size - far, 0.0) / (1 + FAR_FACTOR * np.abs(stats.skew))
    return np.asarray(np.copysign(np.minimum(size, far) + excess, x))


def _lengthened(wanted: Floats, stats: MeanStats) -> Floats:
    """The transformed t >= 0 whose shortened value is `wanted`."""
    far = _far(stats.clusters)
    excess = np.maximum(wanted - far, 0.0) * (1 + FAR_FACTOR * np.abs(stats.skew))
    return np.asarray(np.minimum(wanted, far) + excess)


def _turned_back(x: Floats, skew: Floats) -> Floats:
    """The t whose transformed value is x."""
    k = np.where(np.abs(skew) < _NO_SKEW, _NO_SKEW, skew)
    return np.asarray(3 / k * (np.cbrt(1 + k * (x - k / 6)) - 1))
