"""Limits of the mean of a bounded metric near its bound, where few prompts vary and a standard error sees none of it.

Of 32 prompts that all have accuracy 1, the standard error is zero, and yet one prompt in ten may fail. The limits here
suppose one more cluster, not seen, that has the worst possible value, and give all clusters random weights with a flat
Dirichlet distribution (Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
nonnegative variable; Learned-Miller & Thomas 2019, A New Confidence Interval for the Mean of a Bounded Random
Variable). Of values that are 0 or 1 they are those of Clopper & Pearson 1934.

The distribution of the weighted mean is that of a ratio of sums of exponential variables: its tails are computed by
Lugannani & Rice 1980 (saddlepoint), without any draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FEW_VARYING = 8  # fewer clusters that differ from the commonest bound: these limits in place of those of `means`


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of a metric's values, or of differences; an end may be infinite."""

    low: float
    high: float

    @property
    def finite(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def cut(self, low: float, high: float) -> tuple[float, float]:
        """Limits that reach out of the range, cut to it."""
        return max(low, self.low), min(high, self.high)

    def of_differences(self) -> Bounds:
        """The range of b - a."""
        return Bounds(self.low - self.high, self.high - self.low)


def few_varying(values: ArrayLike, points: tuple[float, ...]) -> bool:
    """Whether fewer than FEW_VARYING of values [C] differ from one of `points`: a bound, or 0 for differences."""
    array = np.asarray(values, dtype=np.float64)
    return any(int(np.sum(np.abs(array - point) > 1e-12 * max(1.0, abs(point)))) < FEW_VARYING for point in points)


def exponential_tail(weights: Floats) -> float:
    """P(sum of weights * E <= 0) for weights [n] and independent exponential E."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    a = weights[weights != 0]
    if not a.size or a.max() <= 0:
        return 1.0
    if a.min() >= 0:
        return 0.0
    a = a / np.abs(a).max()
    edge = 1 - 1e-12  # the slope is infinite at both ends
    s = float(brentq(lambda x: float(np.sum(a / (1 - x * a))), edge / a.min(), edge / a.max(), xtol=1e-15))
    exponent = -2 * float(-np.log1p(-s * a).sum())
    spread = float(np.sum((a / (1 - s * a)) ** 2))
    w, u = math.copysign(math.sqrt(max(exponent, 0.0)), s), s * math.sqrt(spread)
    if abs(w) < 1e-4:  # at the mean of the distribution the formula is 0 / 0: its limit there
        third = 2 * float(np.sum((a / (1 - s * a)) ** 3))
        return float(0.5 + third / (6 * math.sqrt(2 * math.pi) * spread**1.5))
    return float(ndtr(w) + math.exp(-w * w / 2) / math.sqrt(2 * math.pi) * (1 / w - 1 / u))


def bounded_one_sided(sums: Floats, counts: Floats, bounds: Bounds, at: float) -> tuple[float, float]:
    """p of "the true mean is above `at`" and "... below `at`", for clusters with `sums` and `counts` of units [C]."""
    residuals, unseen = sums - at * counts, float(counts.mean())
    above = exponential_tail(np.append(residuals, (bounds.low - at) * unseen))
    below = exponential_tail(-np.append(residuals, (bounds.high - at) * unseen))
    return above, below


def bounded_limits(sums: Floats, counts: Floats, bounds: Bounds, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper limit within the bounds: where `bounded_one_sided` is (1 - level) / 2."""
    mean, tail = float(sums.sum() / counts.sum()), (1 - level) / 2

    def limit(side: int, outside: float) -> float:
        from scipy.optimize import brentq

        def excess(at: float) -> float:
            return bounded_one_sided(sums, counts, bounds, at)[side] - tail

        inside = mean if excess(mean) > 0 else bounds.high if side == 0 else bounds.low
        if inside == outside or excess(outside) >= 0:
            return float(outside)
        return float(brentq(excess, inside, outside, xtol=1e-12 * (bounds.high - bounds.low)))

    return limit(0, bounds.low), limit(1, bounds.high)
