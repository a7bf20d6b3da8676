"""From values and their prompts to an interval and a p value: the one place that decides how.

| clusters | limits |
| :--- | :--- |
| both pictures of every pair are the same file | exactly 0, [0, 0] |
| one | none |
| bounded metric, fewer than 8 clusters off the bound (of differences: off zero) | `bench.analysis.bounded` |
| equal differences, no bounds | `bench.analysis.bounded`, supposing one as large the other way: a sign test |
| bounded metric, values that are all the same | `bench.analysis.bounded` |
| values (or pairs) that are all the same, no bounds | none: nothing says how rare another value is |
| bounded metric, the mean's skewness above 0.2 | of the two, the tighter limit on each side |
| all else | `bench.analysis.means`, cut to the metric's range |

Interval and p come of the same tails, so they never disagree, and nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.bounded import Bounds, bounded_limits, bounded_one_sided, few_varying
from bench.analysis.means import MeanStats, limits, one_sided, ratio_stats
from bench.analysis.stats import Floats, Interval, Paired, cluster_sums, minimum_detectable_effect
from bench.formatting import counted

FEW_PROMPTS = 30  # below it `rare_prompts` is said
# Skewness of a mean above which Hall's limits widen by leaps: 100 shares of which a dozen are off their bound get
# limits 1.6 times too wide, while those of bounded means, valid for any shape, are as wide as they have to be.
_SKEWED = 0.2


@dataclass(frozen=True)
class ClusterMean:
    """The mean of all units over clusters, with what its limits and its p value rest on."""

    sums: Floats = field(repr=False)  # [C]
    counts: Floats = field(repr=False)  # [C]
    n_unscored: int = 0
    bounds: Bounds | None = None
    ties_at: tuple[float, ...] = ()  # values at which clusters pile up: the bounds, or 0 for differences
    turned: Bounds | None = None  # where all are equal ones, how far the other way one may be
    scored: int | None = None  # values behind the units, where those are means themselves

    @property
    def n(self) -> int:
        """Values that were averaged."""
        return int(self.counts.sum()) if self.scored is None else self.scored

    @property
    def mean(self) -> float:
        """NaN of no unit."""
        return float(self.sums.sum() / self.counts.sum()) if self.sums.size else math.nan

    @cached_property
    def piled_up(self) -> bool:
        """Whether so few clusters differ from a bound (or from zero) that a standard error does not see the others.

        Of clusters that are all the same it sees nothing, wherever they lie.
        """
        if self.sums.size < 2:
            return False
        if math.isnan(float(self._stats.error)):
            return self._range is not None
        if self.bounds is None or not self.bounds.finite:
            return False
        return few_varying(self.sums / self.counts, self.ties_at)

    @cached_property
    def _range(self) -> Bounds | None:
        """The bounds, or where there are none what equal differences may be."""
        return self.bounds if self.bounds is not None and self.bounds.finite else self.turned

    @cached_property
    def _stats(self) -> MeanStats:
        return ratio_stats(self.sums, self.counts)

    @cached_property
    def _tighter_in_bounds(self) -> bool:
        """Whether limits of bounded means count beside those of `means`: of a metric's skewed values in its range."""
        finite = self.bounds is not None and self.bounds.finite and not math.isnan(float(self._stats.error))
        return finite and abs(float(self._stats.skew)) > _SKEWED

    def one_sided(self, at: float = 0.0) -> tuple[float, float]:
        """p of the claims that the true mean is above `at`, and below it; NaN where there is no interval."""
        if self.sums.size < 2:
            return math.nan, math.nan
        if self.piled_up and self._range is not None:
            return bounded_one_sided(self.sums, self.counts, self._range, at)
        above, below = map(float, one_sided(self._stats, at))
        if not self._tighter_in_bounds:
            return above, below
        assert self.bounds is not None
        found = bounded_one_sided(self.sums, self.counts, self.bounds, at)
        return min(above, found[0]), min(below, found[1])

    def p(self, at: float = 0.0) -> float:
        """Two-sided p that the true mean is `at`: below 1 - level exactly where the interval excludes `at`."""
        above, below = self.one_sided(at)
        return math.nan if math.isnan(above) else min(1.0, 2 * min(above, below))

    def interval(self, level: float = 0.95) -> Interval:
        """The mean with its limits; `n` units in `clusters` clusters. NaN limits come with a reason."""
        clusters = self.sums.size
        if not clusters:
            return Interval(math.nan, math.nan, math.nan, 0, self.n_unscored, 0, "no value could be scored")
        if clusters == 1:
            return self._without("no interval: a single prompt carries no between-prompt variance")
        if self.piled_up and self._range is not None:
            low, high = bounded_limits(self.sums, self.counts, self._range, level)
        elif math.isnan(float(self._stats.error)):
            return self._without(
                f"no interval: all {clusters} prompts have the same value, of a metric without two bounds"
            )
        else:
            low, high = map(float, limits(self._stats, level))
            low, high = self.bounds.cut(low, high) if self.bounds else (low, high)
            if self._tighter_in_bounds and self.bounds is not None:
                found = bounded_limits(self.sums, self.counts, self.bounds, level)
                low, high = max(low, found[0]), min(high, found[1])
        return Interval(self.mean, low, high, self.n, self.n_unscored, clusters)

    def _without(self, reason: str) -> Interval:
        return Interval(self.mean, math.nan, math.nan, self.n, self.n_unscored, self.sums.size, reason)


def cluster_mean(values: ArrayLike, clusters: ArrayLike, bounds: Bounds | None = None) -> ClusterMean:
    """Of the finite values [N]; clusters [N] are any sortable labels, `bounds` the metric's range."""
    numbers = np.asarray(values, dtype=np.float64)
    sums, counts = cluster_sums(numbers, clusters)
    ends = (bounds.low, bounds.high) if bounds else ()
    return ClusterMean(sums, counts.astype(np.float64), numbers.size - int(counts.sum()), bounds, ends)


def cluster_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike, bounds: Bounds | None = None) -> ClusterMean:
    """Of b - a over aligned pairs [N] of which both sides are finite; `bounds` is the range of the metric itself."""
    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    sums, counts = cluster_sums(differences, clusters)
    wide = bounds.of_differences() if bounds else None
    ends = (wide.low, 0.0, wide.high) if wide else ()
    unscored = differences.size - int(counts.sum())
    return ClusterMean(sums, counts.astype(np.float64), unscored, wide, ends, _as_far_back(sums / counts))


def _as_far_back(means: Floats) -> Bounds | None:
    """For differences that are all the same: one that was not seen may be as large the other way (sign test).

    None where they are nothing at all.
    """
    size = float(np.abs(means).max()) if means.size else 0.0
    return Bounds(-size, size) if size > 0 else None


def mean_interval(
    values: ArrayLike, clusters: ArrayLike, level: float = 0.95, bounds: Bounds | None = None
) -> Interval:
    """Plain mean of the finite values [N] with its interval over clusters [N]: `cluster_mean(...).interval(level)`."""
    return cluster_mean(values, clusters, bounds).interval(level)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    bounds: Bounds | None = None,
    *,
    identical: bool | None = None,
) -> Paired:
    """b - a over aligned pairs [N] with prompts [N] as clusters: interval, p, win rate, smallest detectable effect.

    A pair of which either side is not finite is unscored. `identical`: every pair is one picture in two places (equal
    sha256); where all of them were scored alike, the difference is 0 without any uncertainty. None: `same_values`
    decides.
    """
    found = cluster_difference(a, b, clusters, bounds)
    changes = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    finite = changes[np.isfinite(changes)]
    wins, losses = int(np.sum(finite > 0)), int(np.sum(finite < 0))
    counts = wins, finite.size - wins - losses, losses
    shares = np.where(np.isfinite(changes), (np.sign(changes) + 1) / 2, np.nan)
    win = mean_interval(shares, clusters, level, Bounds(0.0, 1.0))
    alike = bool(changes.size) and not found.n_unscored and _equal(a, b)
    if same_values(a, b, bounds) if identical is None else identical and alike:
        same = Interval(0.0, 0.0, 0.0, found.n, found.n_unscored, found.sums.size, "the pictures are identical")
        return Paired(same, 1.0, *counts, math.nan, win)
    interval = found.interval(level)
    return Paired(interval, found.p(), *counts, minimum_detectable_effect(interval, level), win)


def same_values(a: ArrayLike, b: ArrayLike, bounds: Bounds | None = None) -> bool:
    """Whether two methods have the very same values, of a metric whose values do not repeat by chance.

    Then they have the same pictures. Values that do not vary, or of a metric with two bounds (shares), may well repeat.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if (bounds is not None and bounds.finite) or not np.isfinite(first).all() or first.size < 2:
        return False
    return _equal(first, second) and np.unique(first).size > first.size / 2


def _equal(a: ArrayLike, b: ArrayLike) -> bool:
    """Equal but for the last digits, which a sum in another order may change."""
    return bool(np.allclose(a, b, rtol=1e-12, atol=0))


def bounds_of(card: Mapping[str, Any]) -> Bounds | None:
    """The range of a metric from its stored card; an end that the card does not state is infinite. None for neither."""
    low, high = (card.get(key) for key in ("low", "high"))
    if low is None and high is None:
        return None
    return Bounds(-math.inf if low is None else float(low), math.inf if high is None else float(high))


def rare_prompts(prompts: int) -> str:
    """What no interval over fewer than 30 prompts can show, as a sentence; "" for more."""
    if not 0 < prompts < FEW_PROMPTS:
        return ""
    if prompts < 3:  # 3/n is no share
        return f"{counted(prompts, 'prompt')}: most kinds of prompts cannot be seen, and no interval accounts for them"
    return (
        f"{prompts} prompts: a kind of prompt rarer than {3 / prompts:.0%} (3/n) cannot be seen, "
        "and no interval accounts for it"
    )
