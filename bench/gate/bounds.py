"""The rules of a thresholds file, judged on summaries: bounds, drops against a baseline, dominance. Pure functions.

An interval that straddles a bound decides nothing: the verdict is `undecided`, with the number of prompts that would
decide. So is one that holds only for what happens to be scored (`bench.analysis.estimand`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.bounded import Bounds
from bench.analysis.noise import noise_text
from bench.analysis.set_notes import EXTRAPOLATED
from bench.analysis.stats import Interval, minimum_detectable_effect
from bench.gate.changes import Change, change_of, value_against, why_other
from bench.gate.dominance import dominance
from bench.gate.ledger import look_level
from bench.gate.people import is_human
from bench.gate.rules import ALPHA, Gate, absent, make, no_value, one_pair, prompts_of, unjudged, unscored_text
from bench.gate.summaries import Entry, Summary, read_summary
from bench.gate.thresholds import Bound, Rule, Thresholds
from bench.gate.verdict import Status, Verdict, needed_prompts, shown, without_interval
from bench.store.select import LeftOut


def verdicts(
    limits: Thresholds,
    summaries: Sequence[Summary | Mapping[str, Any]],
    baseline: Mapping[str, Any] | None = None,
    left_out: Sequence[LeftOut] = (),
    look: int | None = None,
    *,
    of: int | None = None,
    common: bool = False,
) -> list[Verdict]:
    """Verdicts of all rules, in the order of the file, on summaries (or such as a baseline file has them).

    Drops and dominance are paired where the summaries have values by prompt. The intervals of all drops together are
    of 95 % (Bonferroni): a gate of many lines must not fail by chance. At `look` k of a nightly gate all lines share
    what that look may spend (`bench.gate.ledger`). `left_out`: runs that are not among the summaries, because they are
    not comparable with them or not finished; each gets a verdict of its own by the rules of its method.
    """
    typed = [summary if isinstance(summary, Summary) else read_summary(summary) for summary in summaries]
    before = [read_summary(one) for one in (baseline or {}).get("summaries", [])]
    level = 0.95 if look is None else look_level(look, _lines(limits, typed), of)
    drops = drop_level(limits, typed) if look is None else level
    lines = _lines(limits, typed, drops=look is None)
    gate = Gate(limits, typed, before, left_out, drops, level, common, lines, _seen([*typed, *before]))
    runs = Counter((summary.suite, summary.method) for summary in typed)
    runs.update((omitted.suite, omitted.method) for omitted in left_out)
    found = [verdict for rule in limits.rules for verdict in _of_rule(rule, gate)]
    return [replace(verdict, path=limits.path, several=runs[verdict.suite, verdict.method] > 1) for verdict in found]


def _seen(summaries: Sequence[Summary]) -> dict[str, Bounds]:
    """Per metric the smallest and the largest value of all that is compared."""
    found: dict[str, Bounds] = {}
    for entry in (entry for summary in summaries for entry in summary.metrics.values()):
        seen = entry.units.seen if entry.units is not None else None
        if seen is not None:
            known = found.get(entry.metric, seen)
            found[entry.metric] = Bounds(min(known.low, seen.low), max(known.high, seen.high))
    return found


def _of_rule(rule: Rule, gate: Gate) -> list[Verdict]:
    found = []
    for summary in (summary for summary in gate.summaries if summary.method == rule.method):
        found += [_bound(rule, summary, gate)] if isinstance(rule, Bound) else dominance(rule, summary, gate)
    found += [unjudged(rule, omitted, gate) for omitted in gate.left_out if omitted.method == rule.method]
    return found or [absent(rule, rule.method, gate)]


def drop_level(limits: Thresholds, summaries: Sequence[Summary] = ()) -> float:
    """The level of the interval of each drop, in (0, 1): a rule is as many tests as runs of its method are judged."""
    return 1 - ALPHA / max(1, _lines(limits, summaries, drops=True))


def _lines(limits: Thresholds, summaries: Sequence[Summary], *, drops: bool = False) -> int:
    runs = Counter(summary.method for summary in summaries)
    rules = [
        rule for rule in limits.rules if not drops or (isinstance(rule, Bound) and rule.rule.startswith("max_drop"))
    ]
    return sum(max(1, runs[rule.method]) for rule in rules)


def _numbers(status: Status, value: Interval, bound: float, prompts: int, level: float = 0.95) -> dict[str, Any]:
    numbers: dict[str, Any] = {"value": value.mean, "ci_low": value.low, "ci_high": value.high}
    if status == "undecided" and not without_interval(value):
        numbers["needed"] = needed_prompts(value, bound, prompts, level)
    return numbers


def _bound(bound: Bound, summary: Summary, gate: Gate) -> Verdict:
    why = no_value(summary, bound.metric)
    if why:
        entry = summary.metrics.get(bound.metric)
        unscored = unscored_text(entry) if entry is not None else ""
        return make(bound, summary, "missing", f"{why} ({unscored})" if unscored and "(" not in why else why)
    entry = summary.metrics[bound.metric]
    if bound.rule.startswith("max_drop"):
        return _drop(bound, summary, entry, gate)
    prompts, at_least = prompts_of(summary, entry), bound.rule == "min"
    now = entry.at(gate.level)
    status, gaps = value_against(entry, bound.value, gate.level, gate.seen.get(bound.metric), at_least=at_least)
    message = _told(
        f"{shown(now)} against {bound.rule} {bound.value:g}", unscored_text(entry), gaps, without_interval(now)
    )
    numbers = _numbers(status, now, bound.value, prompts, gate.level)
    if gaps:
        numbers.pop("needed", None)  # more prompts do not bring back what is unscored
    if is_human(bound.metric) and numbers.pop("needed", None) is not None:
        message = _told(message, "more votes would decide: `bench study report` says how many")
    return make(bound, summary, status, message, **numbers)


def _told(message: str, *more: str) -> str:
    return "; ".join([message, *(clause for clause in more if clause)])


def _drop(bound: Bound, summary: Summary, entry: Entry, gate: Gate) -> Verdict:
    """A drop is a loss in the metric's own direction: for FID, where lower is better, a rise."""
    before = next((one for one in gate.baseline if _same_method(one, summary)), None)
    old = before.metrics.get(bound.metric) if before else None
    if before is None or old is None or not math.isfinite(old.mean):
        message = f"the baseline has no {bound.metric} of {bound.method} on suite {summary.suite}"
        return make(bound, summary, "missing", message)
    why = why_other(summary, before, bound.metric)
    if why:
        return make(bound, summary, "not_comparable", f"not comparable with the baseline: {why}")
    percent, seen = bound.rule == "max_drop_percent", gate.seen.get(bound.metric)
    change = change_of(before, summary, bound.metric, gate.drop_level, percent=percent, seen=seen)
    if not math.isfinite(change.interval.mean):
        reason = change.interval.reason
        if percent and "denominator" in (reason or ""):
            reason = f"a percentage of {change.was:.4g}, which may be zero, is meaningless: use max_drop"
        return make(bound, summary, "missing", f"{bound.metric} cannot be judged: {reason}")
    if one_pair(change.interval, summary, entry):
        return make(bound, summary, "missing", f"{bound.metric} shares only one prompt with the baseline")
    drop = change.flipped() if entry.higher else change
    noise = noise_text({"baseline": before.conditions, "now": summary.conditions})
    return _judged_drop(bound, summary, drop, gate, noise)


def _judged_drop(bound: Bound, summary: Summary, drop: Change, gate: Gate, noise: str) -> Verdict:
    """Where values are scored on one side only, a drop that is small enough for the others proves nothing."""
    entry, level = summary.metrics[bound.metric], gate.drop_level
    status = drop.held_against(bound.value, at_least=False, common=gate.common)
    numbers = _numbers(status, drop.interval, bound.value, prompts_of(summary, entry), level)
    unit = " %" if bound.rule == "max_drop_percent" else ""
    against = f"against {bound.rule} {bound.value:g}"
    message = f"{drop.was:.4g} before, {drop.now:.4g} now: drop {shown(drop.interval)}{unit} {against}"
    why = _why_undecided(drop, bound.value) if status == "undecided" else ""
    if status == "undecided" and (
        drop.open_ or drop.held_against(bound.value, at_least=False, common=True) == "passed"
    ):
        numbers.pop("needed", None)  # more prompts do not bring back what is unscored
    detectable = minimum_detectable_effect(drop.interval, level)
    gaps = f"over {drop.interval.n:,} common values (--common)" if gate.common and drop.gaps else drop.gaps
    far = (
        EXTRAPOLATED if entry.features is not None and not drop.open_ and drop.interval.high > drop.interval.low else ""
    )
    numbers |= {"noise": noise, "shared": gate.shared}
    message = _told(
        message, unscored_text(entry), gaps, far, "" if drop.open_ else without_interval(drop.interval), why
    )
    return make(bound, summary, status, message, baseline=drop.was, detectable=detectable, level=level, **numbers)


def _why_undecided(drop: Change, bound: float) -> str:
    if drop.open_:
        return drop.open_
    low = drop.interval.low
    if math.isnan(low):
        return ""
    if drop.held_against(bound, at_least=False, common=True) == "passed":
        return "within the bound for what both sides have, but not with the worst case in the rest"
    if low > 0:
        return "worse, but not surely beyond the bound"
    return "worse or not, neither is sure" if drop.interval.mean > bound else "within the bound, but not surely"


def _same_method(summary: Summary, other: Summary) -> bool:
    return (summary.suite, summary.method) == (other.suite, other.method)
