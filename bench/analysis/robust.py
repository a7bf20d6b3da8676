"""Summaries that do not rest on the mean: interquartile mean and performance profile over prompts, dominance rates.

Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice (arXiv 2108.13264): the
interquartile mean is less driven by a few prompts than the mean, and surer than the median; the profile shows what
share of prompts reaches each score. And the control variate, which narrows the interval of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.analysis.bounded import Bounds
from bench.analysis.intervals import cluster_mean, mean_interval
from bench.analysis.ratios import pseudo_interval, pseudo_values
from bench.analysis.stats import Interval

Floats = NDArray[np.float64]

LEAST = 8  # prompts: below it no quartile and no slope is known well enough for an interval


def interquartile_mean(
    values: ArrayLike, clusters: ArrayLike | None = None, bounds: Bounds | None = None, level: float = 0.95
) -> Interval:
    """Mean of the middle half of prompts' values [n], with the jackknife's interval over clusters [n] of prompts.

    Values that are not finite are unscored. NaN limits below 8 clusters.
    """
    array = np.asarray(values, dtype=np.float64)
    labels = np.arange(array.size) if clusters is None else np.asarray(clusters)
    known = np.isfinite(array)
    array, labels, lost = array[known], labels[known], int((~known).sum())
    order = np.argsort(array, kind="stable")
    array, labels = array[order], labels[order]
    names = np.unique(labels)
    whole = _middle(array) if array.size else float("nan")
    if names.size < LEAST:
        reason = f"no interval: fewer than {LEAST} prompts" if array.size else "no value could be scored"
        return Interval(whole, np.nan, np.nan, array.size, lost, names.size, reason)
    left_out = np.array([_middle(array[labels != name]) for name in names])
    found = pseudo_interval(pseudo_values(whole, left_out), level)
    low, high = bounds.cut(found.low, found.high) if bounds else (found.low, found.high)
    return replace(found, low=low, high=high, n=array.size, n_unscored=lost)


def _middle(ordered: Floats) -> float:
    """Mean between the quartiles; values on their border count in part, so that it has no jumps in n."""
    n = ordered.size
    edges = np.clip(np.arange(n + 1), n / 4, 3 * n / 4)
    return float(np.sum(np.diff(edges) * ordered) / (n / 2))


@dataclass(frozen=True)
class Profile:
    """Share of prompts with at least a score, per score of a grid, with a pointwise interval; all are [G]."""

    scores: Floats
    share: Floats
    low: Floats
    high: Floats


def performance_profile(
    values: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Profile:
    """Of prompts' values [n], at `scores` [G]; a score is reached by values that are at least as large.

    Pointwise limits of Clopper & Pearson 1934; where prompts share a cluster, of a bounded mean over clusters.
    """
    array, grid = np.asarray(values, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    labels = np.arange(array.size) if clusters is None else np.asarray(clusters)
    known = np.isfinite(array)
    array, labels = array[known], labels[known]
    reached = array[None, :] >= grid[:, None]
    if np.unique(labels).size == array.size:
        low, high = _binomial(reached.sum(axis=1), array.size, level)
        return Profile(grid, reached.mean(axis=1), low, high)
    found = [mean_interval(one.astype(float), labels, level, Bounds(0.0, 1.0)) for one in reached]
    return Profile(grid, *(np.array([getattr(one, end) for one in found]) for end in ("mean", "low", "high")))


def _binomial(hits: NDArray[np.int64], n: int, level: float) -> tuple[Floats, Floats]:
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - np.maximum(hits, 1) + 1, tail), 0.0)
    high = np.where(hits < n, betaincinv(np.minimum(hits, n - 1) + 1, n - np.minimum(hits, n - 1), 1 - tail), 1.0)
    return np.asarray(low), np.asarray(high)


@dataclass(frozen=True, slots=True)
class DominanceRates:
    """Joint dominance and joint collapse rate over a base, in K rewards (PG-OT, arXiv 2605.13155)."""

    metrics: tuple[str, ...]
    dominates: Interval  # share of images that are at least as good as the base's in all rewards, better in one
    dominated: Interval  # the reverse


def dominance_rates(
    base: Sequence[ArrayLike],
    method: Sequence[ArrayLike],
    clusters: ArrayLike,
    metrics: Sequence[str],
    higher: Sequence[bool],
) -> DominanceRates:
    """Of paired images, values [prompts, samples] per metric, with the clusters [prompts] of the prompts.

    The rate is the mean over prompts of the share of a prompt's images. An image without one of the values, on either
    side, is unscored.
    """
    signs = np.where(np.asarray(higher), 1.0, -1.0)[:, None, None]
    gaps = signs * (np.asarray(method, dtype=np.float64) - np.asarray(base, dtype=np.float64))
    known = np.isfinite(gaps).all(axis=0)
    count = known.sum(axis=1)

    def rate(sign: float) -> Interval:
        beats = (sign * gaps >= 0).all(axis=0) & (sign * gaps > 0).any(axis=0)
        share = np.where(count > 0, (beats & known).sum(axis=1) / np.maximum(count, 1), np.nan)
        found = replace(cluster_mean(share, clusters, Bounds(0.0, 1.0)), scored=int(count.sum()))
        return replace(found, n_unscored=int((~known).sum())).interval()

    return DominanceRates(tuple(metrics), rate(1.0), rate(-1.0))


def control_variate(
    values: ArrayLike,
    base: ArrayLike,
    base_everywhere: ArrayLike,
    bounds: Bounds | None = None,
    level: float = 0.95,
) -> Interval | None:
    """The mean of a method on a few prompts, narrowed by the base's mean on many; None where that is not narrower.

    `values` and `base` [n] are of the same prompts, which are supposed to be a random part of the many prompts of
    `base_everywhere` [N]. Prompts that are hard for both move both means; what the base says of its own luck is taken
    off the method's (regression estimator in two phases, Cochran 1977, Sampling Techniques, section 12.7):

        mean = mean(values) + b (mean(base_everywhere) - mean(base)),  b the slope of values on base

    Its variance is that of the residuals over n, with n - 2 degrees of freedom and the distance of the two base means
    as in every regression, and b^2 times that of the base over N. Narrower is: by a tenth at least.
    """
    mine, theirs = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    many = np.asarray(base_everywhere, dtype=np.float64)
    n = mine.size
    if n < LEAST or many.size <= n or not np.ptp(theirs) > 0 or not np.isfinite([*mine, *theirs]).all():
        return None
    plain = mean_interval(mine, np.arange(n), level, bounds)
    slope = float(np.cov(mine, theirs)[0, 1] / theirs.var(ddof=1))
    distance = float(many.mean()) - float(theirs.mean())
    inner = mean_interval(mine - slope * (theirs - theirs.mean()), np.arange(n), level)
    wider = np.sqrt((n - 1) / (n - 2) * (1 + distance**2 / float(theirs.var())))
    centre = float(mine.mean()) + slope * distance
    far = mean_interval(slope * many, np.arange(many.size), level)
    low = centre - float(np.hypot(wider * (inner.mean - inner.low), far.mean - far.low))
    high = centre + float(np.hypot(wider * (inner.high - inner.mean), far.high - far.mean))
    low, high = bounds.cut(low, high) if bounds else (low, high)
    narrower = high - low < 0.9 * (plain.high - plain.low)
    return Interval(centre, low, high, n, 0, n) if narrower else None
