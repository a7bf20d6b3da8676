"""From one summary to another: the change of a metric with its interval, and what it would be with the gaps filled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.analysis.bounded import Bounds
from bench.analysis.differences import set_difference
from bench.analysis.estimand import Pairing, Units, pair
from bench.analysis.extrapolation import is_refused
from bench.analysis.ratios import ratio_interval
from bench.analysis.stats import Interval, independent_difference
from bench.analysis.worst_case import identical_text, worst_case
from bench.gate.summaries import Entry, Summary, widened
from bench.gate.verdict import Status, judge
from bench.store.cards import card_difference

# The protocol under which a baseline holds. Seeds and number formats may change: that is what a gate is for.
_PROTOCOL = ("sampler", "resolution")
_UNKNOWN_GAPS = "the baseline does not say which of its values are unscored: renew it with --update-baseline"


@dataclass(frozen=True, slots=True)
class Change:
    """now - then. `least` and `most` are its interval with the gaps filled so that it is as small or large as can be.

    `open_` says why the change decides nothing whatever its interval is, as a clause; "" where it may.
    """

    interval: Interval
    least: Interval
    most: Interval
    was: float
    now: float
    gaps: str = ""  # what is scored on one side only, and what was filled in, as a clause
    open_: str = ""
    shared: bool = True

    def flipped(self) -> Change:
        """The same change the other way round: a drop of what rose."""
        return replace(self, interval=negative(self.interval), least=negative(self.most), most=negative(self.least))

    def held_against(self, bound: float, *, at_least: bool, common: bool = False) -> Status:
        """Passed only if it would be with the worst case in the gaps.

        Pairs of single images fail as they are; of prompts, whose images differ, only if the best case fails as well.
        `common`: what both sides have decides.
        """
        found = _judged(self.interval, bound, at_least)
        if common:
            return found
        worst, best = (self.least, self.most) if at_least else (self.most, self.least)
        if found == "passed" and (self.open_ or _judged(worst, bound, at_least) != "passed"):
            return "undecided"
        if found == "failed" and (self.open_ or (not self.shared and _judged(best, bound, at_least) != "failed")):
            return "undecided"
        return found


def _judged(interval: Interval, bound: float, at_least: bool) -> Status:
    return judge(interval.low, interval.mean, interval.high, bound, at_least)


def negative(interval: Interval) -> Interval:
    """The interval of the same difference the other way round."""
    return replace(interval, mean=-interval.mean, low=-interval.high, high=-interval.low)


def change_of(
    before: Summary, after: Summary, metric: str, level: float, *, percent: bool = False, seen: Bounds | None = None
) -> Change:
    """Of a metric that both summaries have a value of; in percent of the size of what it was, if `percent`.

    Paired by sample, by prompt or by block of prompts, as far as the values are there; else of two separate intervals.
    """
    then, now = before.metrics[metric], after.metrics[metric]
    identical = before.pictures != "" and before.pictures == after.pictures
    if then.is_set or now.is_set:
        return _set_change(before, after, metric, level, percent, identical)
    if then.units is None or now.units is None:
        return _separate(then, now, level, percent)
    pairing = pair(then.units, now.units, seen)
    shown, least, most = _intervals(pairing, level, percent)
    if math.isfinite(shown.mean) and ((identical and pairing.agree) or pairing.same):
        zero = replace(shown, mean=0.0, low=0.0, high=0.0, reason=identical_text(pairing.gaps))
        shown, least, most = (zero, least, most) if pairing.gaps else (zero, zero, zero)
    gaps = ""
    if pairing.gaps:
        of = "values are" if pairing.gaps > 1 else "value is"
        gaps = f"{pairing.gaps:,} {of} scored on one side only (worst case: {pairing.filled})"
    a, b = pairing.sides[0]
    open_ = _UNKNOWN_GAPS if then.unknown_gaps or now.unknown_gaps else ""
    return Change(shown, least, most, a.mean().mean, b.mean().mean, gaps, open_, pairing.shared)


def _intervals(pairing: Pairing, level: float, percent: bool) -> tuple[Interval, Interval, Interval]:
    if not percent:
        return pairing.interval(level), pairing.least(level), pairing.most(level)
    found = [percent_interval(a, b, pairing.clusters, level) for a, b in pairing.sides]
    return found[0], found[1 if len(found) > 1 else 0], found[2 if len(found) > 1 else 0]


def percent_interval(a: Units, b: Units, clusters: NDArray[np.int64], level: float = 0.95) -> Interval:
    """100 (b - a) / |a| of the means over the prompts that both have, with Fieller's interval (`ratio_interval`).

    NaN with a reason where the mean of a may be zero.
    """
    before, after = a.prompt_means, b.prompt_means
    both = np.isfinite(before) & np.isfinite(after)
    _, index = np.unique(clusters[both], return_inverse=True)
    base = np.bincount(index, weights=before[both])
    change = np.bincount(index, weights=100 * (after[both] - before[both]))
    sign = -1.0 if base.sum() < 0 else 1.0
    return ratio_interval(change, sign * base, level)


def _set_change(before: Summary, after: Summary, metric: str, level: float, percent: bool, identical: bool) -> Change:
    then, now = before.metrics[metric], after.metrics[metric]
    ordered = bool(after.prompt_order) and before.prompt_order == after.prompt_order
    found = set_difference(then.set_value(), now.set_value(), now.features, same_prompts=ordered)
    interval = found.interval(level)
    open_ = interval.reason or "" if is_refused(interval) else ""
    alike = identical and math.isclose(then.mean, now.mean, rel_tol=1e-4, abs_tol=1e-9)
    if alike or (then.left_out and then.left_out == now.left_out and then.mean == now.mean):
        interval, open_ = Interval(0.0, 0.0, 0.0, now.interval.n, 0, max(2, len(now.left_out))), ""
    elif math.isnan(interval.low) and not open_ and math.isfinite(interval.mean):
        interval = widened(independent_difference(then.interval, now.interval), level)  # plain summaries
    if percent:
        size = abs(then.mean) / 100
        interval = replace(interval, mean=interval.mean / size, low=interval.low / size, high=interval.high / size)
    return Change(interval, interval, interval, then.mean, now.mean, "", open_)


def _separate(then: Entry, now: Entry, level: float, percent: bool) -> Change:
    """Of two means whose pairs are not at hand."""
    found = widened(independent_difference(then.interval, now.interval), level)
    if percent:
        if then.mean == 0 or (math.isfinite(then.interval.low) and not then.interval.excludes_zero):
            nan = math.nan
            found = Interval(nan, nan, nan, 0, 0, 0, may_be_zero(then.mean))
        else:
            size = abs(then.mean) / 100
            found = replace(found, mean=found.mean / size, low=found.low / size, high=found.high / size)
    open_ = _UNKNOWN_GAPS if then.unknown_gaps or now.unknown_gaps else ""
    return Change(found, found, found, then.mean, now.mean, "", open_)


def may_be_zero(mean: float) -> str:
    """Why a percentage of a mean says nothing, as a clause."""
    return f"a percentage of {mean:.4g}, which may be zero, is meaningless: use max_drop"


def value_against(
    entry: Entry, bound: float, level: float, seen: Bounds | None, *, at_least: bool
) -> tuple[Status, str]:
    """A mean held against a bound, and what its gaps leave open, as a clause; "" for no gaps.

    It passes only if it would with the worst case in what is unscored.
    """
    now = entry.at(level)
    found = _judged(now, bound, at_least)
    if not entry.n_unscored or entry.is_set:
        return found, ""
    known = [one for one in (entry.units.seen if entry.units else None, seen) if one is not None]
    ends, filled = worst_case(entry.units.bounds if entry.units else None, known)
    told = f"with the worst case in the {entry.n_unscored:,} unscored values ({filled}) nothing is decided"
    if found != "passed":
        return found, ""
    if entry.unknown_gaps or entry.units is None:
        return "undecided", "which values are unscored is not known, so the remaining values cannot decide"
    worst = entry.units.filled(ends.low if at_least else ends.high).mean().interval(level)
    return (found, "") if _judged(worst, bound, at_least) == "passed" else ("undecided", told)


def why_other(now: Summary, then: Summary, metric: str) -> str:
    """The field in which a summary and its baseline differ, as a clause; "" when the drop means something."""
    how = card_difference(then.metrics[metric].card, now.metrics[metric].card)
    if how:
        return f"the metric was computed differently: {how} (then against now)"
    if 0 < now.prompts < then.prompts:
        return f"it has {now.prompts} prompts, and the baseline {then.prompts}"
    for what, a, b in (
        ("prompts", now.prompts_digest, then.prompts_digest),
        ("samples", now.samples, then.samples),
    ):
        if a is not None and b is not None and a != b:
            return f"{what} differs ({str(b)[:12]} then, {str(a)[:12]} now)"
    one, other = then.metrics[metric], now.metrics[metric]
    if one.is_set and one.interval.n != other.interval.n and one.interval.n and other.interval.n:
        return f"N differs ({one.interval.n:,} then, {other.interval.n:,} now): set metrics are not subtracted"
    return _other_protocol(now.conditions, then.conditions)


def _other_protocol(now: Mapping[str, object], then: Mapping[str, object]) -> str:
    for key in _PROTOCOL:
        if key in now and key in then and now[key] != then[key]:
            return f"{key} differs ({then[key]} then, {now[key]} now)"
    return ""
