"""Variances of sums over votes that are alike within a rater and within a prompt, and intervals of shares from them.

Votes of one rater lean the same way, and so do votes on one prompt. The two-way cluster-robust covariance (Cameron,
Gelbach & Miller 2011, equation 2.8) is the sum of the covariances by rater and by prompt less the one by both, each
with its G / (G - 1). It is judged with Student's t of min(raters, prompts) - 1 degrees of freedom. Where the difference
leaves less than one of its parts, the larger part is taken: the sum may even come out negative with few clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import Interval, t_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spread:
    """The covariance [k, k] of k sums of influences, in three parts, and how many raters and prompts it rests on."""

    by_rater: Floats
    by_prompt: Floats
    by_both: Floats
    raters: int
    prompts: int

    @property
    def freedom(self) -> int:
        """Degrees of freedom of Student's t."""
        return min(self.raters, self.prompts) - 1

    def variance(self, contrast: Floats | None = None) -> float:
        """Of a contrast [k] (None: the first sum alone); NaN with fewer than two raters or prompts."""
        if self.freedom < 1:
            return math.nan
        c = np.eye(len(self.by_rater))[0] if contrast is None else np.asarray(contrast, dtype=np.float64)
        rater, prompt, both = (float(c @ part @ c) for part in (self.by_rater, self.by_prompt, self.by_both))
        return max(rater + prompt - both, min(rater, prompt))

    def why_none(self) -> str:
        """Why there is no variance; "" where there is one."""
        if self.raters < 2:
            return "no interval: a single rater carries no between-rater variance"
        return "no interval: a single prompt carries no between-prompt variance" if self.prompts < 2 else ""


def two_way(influences: Floats, raters: Ints, prompts: Ints) -> Spread:
    """The covariance of the column sums of influences [N, k] (or [N]) of votes, clustered by rater [N] and prompt [N].

    >>> import numpy as np
    >>> y = np.array([1.0, 0.0, 1.0, 1.0])
    >>> spread = two_way((y - y.mean()) / 4, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    >>> round(spread.variance(), 4)
    0.0625
    """
    table = influences[:, None] if influences.ndim == 1 else influences
    _, rater = np.unique(raters, return_inverse=True)
    _, prompt = np.unique(prompts, return_inverse=True)
    n_raters, n_prompts = (int(one.max()) + 1 if one.size else 0 for one in (rater, prompt))
    _, cell = np.unique(rater * max(n_prompts, 1) + prompt, return_inverse=True)
    parts = [_outer(table, labels) for labels in (rater, prompt, cell)]
    return Spread(parts[0], parts[1], parts[2], n_raters, n_prompts)


def _outer(table: Floats, labels: Ints) -> Floats:
    groups = int(labels.max()) + 1 if labels.size else 0
    sums = np.stack([np.bincount(labels, weights=column, minlength=groups) for column in table.T], axis=1)
    return np.asarray(sums.T @ sums * (groups / (groups - 1) if groups > 1 else 1.0))


def share_interval(share: float, spread: Spread, n: int, level: float = 0.95) -> Interval:
    """The interval of a share in [0, 1] with the variance of its first sum: Wilson's, so that it stays within [0, 1].

    Wilson's interval (1927) of p (1 - p) / variance votes, Student's t in place of the normal quantile. A share of
    exactly 0 or 1 shows no variance at all: it is taken for that of min(raters, prompts) votes.
    """
    clusters = spread.freedom + 1
    reason = spread.why_none()
    if reason or not math.isfinite(share):
        return Interval(share, math.nan, math.nan, n, 0, max(clusters, 0), reason or "no votes")
    t, size = t_quantile(0.5 + level / 2, spread.freedom), effective_votes(share, spread)
    shrink = t * t / size
    centre = (share + shrink / 2) / (1 + shrink)
    half = t / (1 + shrink) * math.sqrt(share * (1 - share) / size + t * t / (4 * size * size))
    # rounding must not put the share itself outside
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Interval(share, low, high, n, 0, clusters)


def effective_votes(share: float, spread: Spread) -> float:
    """How many independent votes without ties have the same variance."""
    variance = spread.variance()
    inner = share * (1 - share)
    if inner <= 0 or variance <= 1e-15:
        return float(spread.freedom + 1)
    return inner / variance


def share_p(share: float, spread: Spread, null: float = 0.5) -> float:
    """Two-sided p value of a share against `null`: below 1 - level just where the interval of the level excludes it."""
    if spread.freedom < 1 or not math.isfinite(share):
        return math.nan
    statistic = (share - null) * math.sqrt(effective_votes(share, spread) / (null * (1 - null)))
    return t_two_sided(statistic, spread.freedom)


def t_two_sided(statistic: float, freedom: int) -> float:
    """Two-sided p value of Student's t."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))


def t_interval(value: float, variance: float, spread: Spread, n: int, level: float = 0.95) -> Interval:
    """value +- t sqrt(variance), for what is not a share."""
    reason = spread.why_none()
    if reason or not math.isfinite(variance):
        return Interval(value, math.nan, math.nan, n, 0, max(spread.freedom + 1, 0), reason or "no interval")
    half = t_quantile(0.5 + level / 2, spread.freedom) * math.sqrt(variance)
    return Interval(value, value - half, value + half, n, 0, spread.freedom + 1)
