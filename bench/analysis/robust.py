"""Summaries that do not rest on the mean: interquartile mean and performance profile over prompts, dominance rates.

Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice (arXiv 2108.13264): the
interquartile mean is less driven by a few prompts than the mean, and surer than the median; the profile shows what
share of prompts reaches each score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.bounded import Bounds
from bench.analysis.intervals import mean_interval
from bench.analysis.ratios import pseudo_interval, pseudo_values
from bench.analysis.stats import Interval

Floats = NDArray[np.float64]


def interquartile_mean(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of the middle half of prompts' values [n], with the jackknife's interval; NaN limits below 8 prompts."""
    array = np.sort(np.asarray(values, dtype=np.float64))
    array = array[np.isfinite(array)]
    if array.size < 8:
        mean = _middle(array) if array.size else float("nan")
        return Interval(mean, np.nan, np.nan, array.size, 0, array.size, "no interval: fewer than 8 prompts")
    left_out = np.array([_middle(np.delete(array, i)) for i in range(array.size)])
    return pseudo_interval(pseudo_values(_middle(array), left_out), level)


def _middle(ordered: Floats) -> float:
    """Mean between the quartiles; values on their border count in part, so that it has no jumps in n."""
    n = ordered.size
    edges = np.clip(np.arange(n + 1), n / 4, 3 * n / 4)
    return float(np.sum(np.diff(edges) * ordered) / (n / 2))


@dataclass(frozen=True)
class Profile:
    """Share of prompts with at least a score, per score of a grid, with a pointwise interval."""

    scores: Floats
    share: Floats
    low: Floats
    high: Floats


def performance_profile(values: ArrayLike, scores: ArrayLike, level: float = 0.95) -> Profile:
    """Of prompts' values [n], at `scores` [G]."""
    array, grid = np.asarray(values, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    array = array[np.isfinite(array)]
    indices, unit = np.arange(array.size), Bounds(0.0, 1.0)
    found = [mean_interval((array >= score).astype(float), indices, level, unit) for score in grid]
    return Profile(grid, *(np.array([getattr(one, end) for one in found]) for end in ("mean", "low", "high")))


@dataclass(frozen=True, slots=True)
class DominanceRates:
    """Joint dominance and joint collapse rate over a base, in K rewards (PG-OT, arXiv 2605.13155)."""

    metrics: tuple[str, ...]
    dominates: Interval  # share of images that are at least as good as the base's in all rewards, better in one
    dominated: Interval  # the reverse


def dominance_rates(
    base: Sequence[ArrayLike],
    method: Sequence[ArrayLike],
    prompts: ArrayLike,
    metrics: Sequence[str],
    higher: Sequence[bool],
) -> DominanceRates:
    """Of paired values per metric, each [N images], with their prompts [N]; images without one of them are unscored."""
    signs = np.where(np.asarray(higher), 1.0, -1.0)[:, None]
    gaps = signs * (np.asarray(method, dtype=np.float64) - np.asarray(base, dtype=np.float64))
    known = np.isfinite(gaps).all(axis=0)

    def rate(sign: float) -> Interval:
        beats = (sign * gaps >= 0).all(axis=0) & (sign * gaps > 0).any(axis=0)
        return mean_interval(np.where(known, beats, np.nan), prompts, bounds=Bounds(0.0, 1.0))

    return DominanceRates(tuple(metrics), rate(1.0), rate(-1.0))


def control_variate(values: ArrayLike, base: ArrayLike, base_everywhere: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of a method on a few prompts, narrowed by the base's mean on many (regression estimator, Cochran 1977).

    `values` and `base` [n] are of the same prompts, `base_everywhere` [N] of many others of the same kind. Prompts that
    are hard for both move both means; what the base says of its own luck is taken off the method's. The plain interval
    where that is narrower.
    """
    mine, theirs = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    many = np.asarray(base_everywhere, dtype=np.float64)
    plain = mean_interval(mine, np.arange(mine.size), level)
    if mine.size < 8 or many.size < mine.size or not np.ptp(theirs) > 0:
        return plain
    slope = float(np.cov(mine, theirs)[0, 1] / theirs.var(ddof=1))
    rest = mine - slope * (theirs - theirs.mean())
    inner = mean_interval(rest, np.arange(rest.size), level)
    centre = float(mine.mean()) + slope * (float(many.mean()) - float(theirs.mean()))
    far = mean_interval(slope * many, np.arange(many.size), level)
    low = centre - float(np.hypot(inner.mean - inner.low, far.mean - far.low))
    high = centre + float(np.hypot(inner.high - inner.mean, far.high - far.mean))
    found = Interval(centre, low, high, mine.size, 0, mine.size)
    return found if found.high - found.low < plain.high - plain.low else plain
