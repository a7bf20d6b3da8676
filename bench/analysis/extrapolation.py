"""Frechet distances (FID) without the bias of their number of images, or the statement that there is none to be had.

FID on N images is too large by about c / N, with c depending on the method: at N = 160 nearly all of a small FID is
bias, and the less diverse of two equally good methods looks better. Chong & Forsyth 2020 (Effectively Unbiased FID and
Inception Score, arXiv 1911.07023) evaluate it on subsets and read the line in 1 / N at 1 / N = 0. The subsets here are
those that are stored with every set metric: all prompts but one block (whole prompts, since the K images of a prompt
are no K samples). The line through those and the whole is the jackknife's correction of bias (Quenouille 1956),
B * whole - (B - 1) * mean of the values with a block left out. With fewer images than `ENOUGH` times the number of
features the covariance is nearly singular, the line is none, and nothing is estimable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.stats import Interval, jackknife_interval, t_quantile

_REFUSED = "not estimable"
ENOUGH = 4  # images per feature: below it the line in 1 / N misses the limit by more than its interval
_FRECHET = "Frechet distance"  # the unit that a card of such a metric states


@dataclass(frozen=True, slots=True)
class BlockMean:
    """An estimate with Student's t over blocks of prompts: what `ClusterMean` is to metrics of images."""

    mean: float
    error: float  # NaN: no interval
    blocks: int
    n: int
    reason: str | None = None

    def one_sided(self, at: float = 0.0) -> tuple[float, float]:
        """p of the claims that the true value is above `at`, and below it; NaN where there is no interval."""
        from scipy.special import stdtr

        if self.blocks < 2 or not math.isfinite(self.error):
            return math.nan, math.nan
        if self.error == 0:
            return float(self.mean <= at), float(self.mean >= at)
        t = (self.mean - at) / self.error
        return float(stdtr(self.blocks - 1, -t)), float(stdtr(self.blocks - 1, t))

    def p(self, at: float = 0.0) -> float:
        """Two-sided p that the true value is `at`."""
        above, below = self.one_sided(at)
        return math.nan if math.isnan(above) else min(1.0, 2 * min(above, below))

    def interval(self, level: float = 0.95) -> Interval:
        """Its interval; NaN limits with the reason."""
        if self.blocks < 2 or not math.isfinite(self.error):
            return Interval(self.mean, math.nan, math.nan, self.n, 0, self.blocks, self.reason)
        half = t_quantile(0.5 + level / 2, self.blocks - 1) * self.error
        return Interval(self.mean, self.mean - half, self.mean + half, self.n, 0, self.blocks, self.reason)


def block_mean(whole: float, left_out: ArrayLike, n: int, *, extrapolate: bool = False) -> BlockMean:
    """Of a set metric's value and its values with one block of prompts left out each [B].

    `extrapolate`: read at infinitely many images. A range is not cut: an unbiased estimate of a distance near zero is
    negative in half of all experiments, as KID is.
    """
    blocks = np.asarray(left_out, dtype=np.float64)
    blocks = blocks[np.isfinite(blocks)]
    found = jackknife_interval(whole, blocks, n)
    if blocks.size < 2 or not math.isfinite(whole):
        return BlockMean(whole, math.nan, blocks.size, n, found.reason)
    error = math.sqrt((blocks.size - 1) / blocks.size * float(np.sum((blocks - blocks.mean()) ** 2)))
    value = blocks.size * whole - (blocks.size - 1) * float(blocks.mean()) if extrapolate else whole
    return BlockMean(value, error, blocks.size, n)


def features_of(card: Mapping[str, Any]) -> int | None:
    """How many features a Frechet distance is taken over, from the metric's stored card; None for other metrics.

    0 where the card of a Frechet distance does not say.
    """
    if str(card.get("unit") or "") != _FRECHET:
        return None
    settings = card.get("settings")
    features = settings.get("features") if isinstance(settings, Mapping) else None
    return int(features) if features else 0


def not_estimable(features: int | None, n: int) -> str:
    """Why a Frechet distance on n images cannot be compared, as a clause; "" where it can be, and for other metrics."""
    if features is None or (features > 0 and n >= ENOUGH * features):
        return ""
    needed = f"{ENOUGH} x {features:,} features = {ENOUGH * features:,} images" if features else "more images"
    return f"{_REFUSED} at N = {n:,}: its bias is larger than any difference, {needed} are needed; compare KID"


def is_refused(interval: Interval) -> bool:
    """Whether a difference has no interval because its distances are not estimable (`not_estimable`)."""
    return _REFUSED in (interval.reason or "")
