"""Judgements over several metrics where two runs were not scored on the same units.

What a front, a price, a sweep or an over-optimisation index says has to hold with the worst case in the gaps as well
(`bench.analysis.worst_case`), as every difference does. So each is computed as scored, with the gaps filled against the
method and with them filled for it; its limits are the outermost of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.bounded import Bounds
from bench.analysis.estimand import Pairing
from bench.analysis.stats import Floats, Interval


def seen_of(units: Iterable[Bounds | None]) -> Bounds | None:
    """The extreme values of all runs compared, from those of each."""
    known = [one for one in units if one is not None]
    return Bounds(min(one.low for one in known), max(one.high for one in known)) if known else None


@dataclass(frozen=True, slots=True)
class WithGaps:
    """A difference of which the limits hold whatever the missing values are."""

    of: Pairing

    @property
    def mean(self) -> float:
        """Of the pairs that are scored on both sides."""
        return self.of.mean

    def one_sided(self, at: float = 0.0) -> tuple[float, float]:
        """p of "above" and of "below", with the worst case in the gaps."""
        return self.of.one_sided(at)

    def interval(self, level: float = 0.95) -> Interval:
        """The outermost limits."""
        return outermost([self.of.interval(level), self.of.least(level), self.of.most(level)], self.of)


def outermost(intervals: Sequence[Interval], pairing: Pairing | None = None) -> Interval:
    """The first with the outermost limits of all; none where one has none, with its reason."""
    first = intervals[0]
    broken = next((one for one in intervals if not math.isfinite(one.mean) or math.isnan(one.low)), None)
    if broken is not None and broken is not first:
        why = broken.reason or "with the worst case in the gaps there are no limits"
        return replace(first, low=math.nan, high=math.nan, reason=why)
    reason = first.reason if pairing is None else gap_text([pairing]) or first.reason
    return replace(first, low=min(one.low for one in intervals), high=max(one.high for one in intervals), reason=reason)


def gap_text(pairings: Iterable[Pairing]) -> str:
    """What is scored on one side only, and what stands in for it, as a clause; "" for nothing."""
    having = [pairing for pairing in pairings if pairing.gaps]
    if not having:
        return ""
    count = sum(pairing.gaps for pairing in having)
    filled = "; ".join(dict.fromkeys(pairing.filled for pairing in having))
    units = "1 value is" if count == 1 else f"{count:,} values are"
    return f"{units} scored on one side only: limits hold with the worst case there ({filled})"


def changes_of(pairing: Pairing, clusters: np.ndarray, sign: float) -> list[Floats]:
    """b - a as means per cluster [C], positive is better: as scored, and where there are gaps worst and best.

    NaN of clusters without a pair.
    """
    count = int(clusters.max()) + 1
    found = []
    for index, (a, b) in enumerate(pairing.sides):
        differences = pairing.differences if index == 0 else _differences(a.values, b.values, pairing.shared)
        known = np.isfinite(differences)
        totals = np.bincount(clusters, weights=np.where(known, sign * differences, 0).sum(axis=1), minlength=count)
        sizes = np.bincount(clusters, weights=known.sum(axis=1), minlength=count)
        with np.errstate(invalid="ignore"):
            found.append(np.asarray(np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan)))
    if len(found) == 3 and sign < 0:  # the lowest difference is the best one then
        found = [found[0], found[2], found[1]]
    return found


def _differences(a: Floats, b: Floats, shared: bool) -> Floats:
    if shared:
        return b - a
    with np.errstate(invalid="ignore"):
        means = [np.where(np.isfinite(one).any(axis=1), _mean(one), np.nan) for one in (a, b)]
    return np.asarray((means[1] - means[0])[:, None])


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
