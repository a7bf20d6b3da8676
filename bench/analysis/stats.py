"""What intervals and tests over prompts share: their types, bootstrap draws, blocks of set metrics, Holm's correction.

The prompt is the unit: the K images of a prompt are repeated measures, not K samples. Intervals of means and their p
values are made in `bench.analysis.intervals`. Everything here is a pure function of arrays and a seed. Values that are
not finite are left out and counted, never averaged and never taken for zero; where a number cannot be computed it is
NaN and `reason` says why.

Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993); Davison & Hinkley, Bootstrap Methods (1997),
section 3.8 (clusters); Hesterberg, What Teachers Should Know About the Bootstrap (2015), section 5.3 (expanded
percentiles); Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CELLS = 2_000_000  # resampling weights held at once: 4 MB as uint16, 16 MB while they are multiplied
POWER = 0.9  # of the minimum detectable effect, and of the number of prompts that would decide


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its interval, in the unit of the values. `n` units in `clusters` clusters were averaged."""

    mean: float
    low: float
    high: float
    n: int
    n_unscored: int = 0
    clusters: int = 0
    reason: str | None = None  # why the interval (or the mean) is NaN

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of zero; False when there is no interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of b - a over pairs, its interval, and its p value. Ties count half in `win_rate`."""

    interval: Interval
    p: float
    wins: int  # pairs with b > a
    ties: int
    losses: int
    mde: float = math.nan  # the smallest true difference that would be found with a probability of POWER
    win: Interval | None = None  # the share of pairs with b > a, ties half, with its interval within [0, 1]

    @property
    def win_rate(self) -> float:
        """Share of pairs in which b is larger (better or worse is the metric's), in [0, 1]; NaN without pairs."""
        pairs = self.wins + self.ties + self.losses
        return (self.wins + self.ties / 2) / pairs if pairs else math.nan


def cluster_sums(values: Floats, clusters: ArrayLike) -> tuple[Floats, Ints]:
    """Per-cluster sums and counts, each [C], of the finite values [N]; clusters [N] are any sortable labels."""
    labels = np.asarray(clusters)
    if values.ndim != 1 or labels.shape != values.shape:
        raise ValueError(f"values {values.shape} and clusters {labels.shape} must be one-dimensional and of one length")
    keep = np.isfinite(values)
    _, index = np.unique(labels[keep], return_inverse=True)
    return np.bincount(index, weights=values[keep]).astype(np.float64), np.bincount(index).astype(np.int64)


@lru_cache(maxsize=32)  # 128 MB, with 30,000 clusters
def _resamples(clusters: int, rows: int, seed: int, part: int) -> NDArray[np.uint16]:
    """How often each cluster is drawn, [rows, clusters]; cached because all metrics of a table share the draws."""
    # Counts instead of indices: a mean over drawn prompts is then a product with the matrix of per-prompt sums, for
    # all metrics and methods at once. 16 bits hold them, as a prompt is drawn a handful of times.
    rng = np.random.default_rng([seed, part])
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=rows)
    return drawn.astype(np.uint16)


def draw_counts(clusters: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.uint16]]:
    """How often each cluster is drawn, `resamples` rows in all, in blocks [rows, clusters] that fit in little memory.

    The same arguments give the same draws: whatever is computed of them can be paired.
    """
    # Blocks are of one size for one number of clusters, and each has its own seed: draws depend neither on how much
    # memory there is nor on which metric asked first.
    step = max(1, _CELLS // clusters)
    for part, start in enumerate(range(0, n_resamples, step)):
        yield _resamples(clusters, min(step, n_resamples - start), seed, part)


@lru_cache(maxsize=256)
def t_quantile(p: float, freedom: int) -> float:
    """Student's t quantile."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def expanded_tail(level: float, clusters: int) -> float:
    """Tail probability for percentiles of `clusters` clusters (Hesterberg 2015): plain ones are too narrow when few."""
    # The bootstrap's spread is that of n values divided by n, not by n - 1, and its tails are normal rather than t:
    # both are put back by going further out into the percentiles.
    wanted = t_quantile(0.5 + level / 2, clusters - 1) * math.sqrt(clusters / (clusters - 1))
    return NormalDist().cdf(-wanted)


def minimum_detectable_effect(interval: Interval, level: float = 0.95, power: float = POWER) -> float:
    """The smallest true difference whose interval excludes zero with probability `power`, in the interval's unit.

    (t_level + t_power) standard errors, the error read off the wider side of the interval; NaN without an interval.
    """
    half = max(interval.high - interval.mean, interval.mean - interval.low)
    if not math.isfinite(half) or interval.clusters < 2:
        return math.nan
    return half * _reach(interval.clusters, level, power)


def _reach(clusters: int, level: float, power: float) -> float:
    """How many half widths away a true value must be to be told from a bound with probability `power`."""
    # The half width is t_level errors; seen with probability `power` is what lies t_level + t_power errors away.
    return 1 + t_quantile(power, clusters - 1) / t_quantile(0.5 + level / 2, clusters - 1)


def clusters_to_decide(interval: Interval, bound: float, level: float = 0.95, power: float = POWER) -> float:
    """How many clusters would place the interval on one side of `bound` with probability `power`.

    Supposes that the true mean is the one that was measured; widths shrink with the root of the number, and with the
    number itself where all values are at the end of their range. Infinite when the mean is on the bound; NaN without
    an interval.
    """
    # Only the side towards the bound counts: with skewed values the other one may be twice as wide.
    distance = abs(interval.mean - bound)
    sides = interval.mean - interval.low, interval.high - interval.mean
    half, other = sides if interval.mean > bound else sides[::-1]
    if not math.isfinite(half) or interval.clusters < 2:
        return math.nan
    if distance == 0:
        return math.inf
    if other == 0:  # Clopper and Pearson's limits for none of n: about 3.7 / n
        return float(interval.clusters * max(1.0, half / distance))
    return float(interval.clusters * max(1.0, (half * _reach(interval.clusters, level, power) / distance) ** 2))


def jackknife_interval(whole: float, left_out: ArrayLike, n: int, level: float = 0.95) -> Interval:
    """Interval of a set metric from its values with one block of prompts left out each, [B].

    Delete-a-group jackknife with Student's t (Efron & Tibshirani 1993, section 11.5); fewer than two blocks: NaN.
    """
    blocks = np.asarray(left_out, dtype=np.float64)
    blocks = blocks[np.isfinite(blocks)]
    if blocks.size < 2 or not math.isfinite(whole):
        reason = "one value for the whole set: no interval" if math.isfinite(whole) else "no value could be scored"
        return Interval(whole, math.nan, math.nan, n, 0, blocks.size, reason)
    # Values with a block left out differ little from each other, as they share all other blocks: the factor (B - 1)
    # beside the mean of squares undoes that.
    variance = (blocks.size - 1) / blocks.size * float(np.sum((blocks - blocks.mean()) ** 2))
    half = t_quantile(0.5 + level / 2, blocks.size - 1) * math.sqrt(variance)
    return Interval(whole, whole - half, whole + half, n, 0, blocks.size)


def independent_difference(a: Interval, b: Interval) -> Interval:
    """b - a of two separately measured means, by combining their limits (Zou & Donner 2008, MOVER).

    Wider than a paired interval: only for values whose pairs are not at hand. NaN limits stay NaN.
    """
    # Each limit is reached where both means err against it, so it takes b's lower half with a's upper one.
    mean = b.mean - a.mean
    low = mean - math.hypot(b.mean - b.low, a.high - a.mean)
    high = mean + math.hypot(b.high - b.mean, a.mean - a.low)
    return Interval(mean, low, high, min(a.n, b.n), 0, 0, a.reason or b.reason)


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjusted p values [M]; NaN stays NaN and is not counted as a test."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    # Smallest first, multiplied by how many are left. A p value may not come out below that of a smaller one, which the
    # running maximum sees to.
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted
