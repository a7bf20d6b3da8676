"""Intervals of ratios of two means, and of anything that is a smooth function of means, over prompts.

A ratio is judged by Fieller's argument (Fieller 1954, Some Problems in Interval Estimation): r is in the interval where
the mean of numerator - r * denominator is not told from zero, by the same tails as any other mean. A function that is
not a mean enters through its jackknife pseudo-values, n * whole - (n - 1) * left out (Tukey 1958; Efron & Tibshirani
1993, section 11.5), which behave like values of the prompts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.means import limits, mean_stats, one_sided, two_sided
from bench.analysis.stats import Interval

Floats = NDArray[np.float64]

_WIDEST = 60  # doublings of the first step outwards: 2 ** 60 is beyond any ratio that may be printed


def pseudo_values(whole: float, left_out: ArrayLike) -> Floats:
    """Pseudo-values [n] of a statistic from its values with one prompt left out each [n], shifted to mean `whole`.

    The shift takes back the jackknife's correction of the bias: the estimate that is printed is the plain one.
    """
    values = np.asarray(left_out, dtype=np.float64)
    raw = values.size * whole - (values.size - 1) * values
    return np.asarray(raw - raw.mean() + whole)


def pseudo_interval(pseudo: ArrayLike, level: float = 0.95) -> Interval:
    """The interval of a statistic from its pseudo-values [n]: that of their mean."""
    values = np.asarray(pseudo, dtype=np.float64)
    mean = float(values.mean()) if values.size else math.nan
    if values.size < 2 or not np.isfinite(values).all():
        return Interval(mean, math.nan, math.nan, values.size, 0, values.size, "no interval: too few prompts")
    low, high = map(float, limits(mean_stats(values), level))
    reason = f"no interval: all {values.size} prompts have the same value" if math.isnan(low) else None
    return Interval(mean, low, high, values.size, 0, values.size, reason)


def surely_not_zero(values: ArrayLike, level: float = 0.95) -> bool:
    """Whether the mean of values [n] is told from zero, as a denominator must be."""
    array = np.asarray(values, dtype=np.float64)
    return bool(array.size > 1 and np.isfinite(array).all() and float(two_sided(mean_stats(array))) < 1 - level)


def ratio_interval(numerator: ArrayLike, denominator: ArrayLike, level: float = 0.95) -> Interval:
    """mean(numerator) / mean(denominator) of paired values [n] of prompts, with Fieller's interval.

    NaN throughout, with a reason, where the denominator is not surely other than zero: the set is then unbounded.
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    n = top.size
    if not surely_not_zero(bottom, level):
        reason = "the denominator may be zero, so that the ratio is undefined"
        return Interval(math.nan, math.nan, math.nan, 0, 0, n, reason)
    ratio, sign, tail = float(top.mean() / bottom.mean()), math.copysign(1.0, float(bottom.mean())), (1 - level) / 2
    first = max(float(np.std(top - ratio * bottom)) / abs(float(bottom.mean())) / math.sqrt(n), 1e-9 * abs(ratio))
    if float(np.std(top - ratio * bottom)) <= 1e-12 * float(np.abs(top).max()):
        return Interval(ratio, math.nan, math.nan, n, 0, n, "no interval: all prompts have the same ratio")

    def excess(side: int, at: float) -> float:
        return float(one_sided(mean_stats(sign * (top - at * bottom)))[side]) - tail

    low, high = (_limit(lambda at, side=side: excess(side, at), ratio, way * first) for side, way in ((0, -1), (1, 1)))
    return Interval(ratio, low, high, n, 0, n)


def _limit(excess: object, start: float, step: float) -> float:
    """Where `excess`, positive at `start`, first turns negative in the direction of `step`; infinite if nowhere."""
    from scipy.optimize import brentq

    assert callable(excess)
    inside = start
    for doubling in range(_WIDEST):
        outside = start + step * 2.0**doubling
        if excess(outside) < 0:
            return float(brentq(excess, inside, outside))
        inside = outside
    return math.copysign(math.inf, step)
