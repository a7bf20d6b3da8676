"""The rules of a thresholds file, judged on summaries: bounds, drops against a baseline, dominance. Pure functions.

An interval that straddles a bound decides nothing: the verdict is `inconclusive`, with the number of prompts that would
decide. A method with several runs is judged by each of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.stats import Interval, minimum_detectable_effect
from bench.gate.dominance import dominance
from bench.gate.rules import ALPHA, Gate, Summary, absent, make, negative, no_value, one_pair, prompts_of, unjudged
from bench.gate.summary_entry import (
    Entry,
    difference,
    interval_of,
    lost_since,
    paired_means,
    relative_difference,
    same_order,
    unscored_text,
    why_other,
)
from bench.gate.thresholds import Bound, Rule, Thresholds
from bench.gate.verdict import Status, Verdict, judge, needed_prompts, shown
from bench.store.select import LeftOut


def verdicts(
    limits: Thresholds,
    summaries: Sequence[Summary],
    baseline: Mapping[str, Any] | None = None,
    left_out: Sequence[LeftOut] = (),
) -> list[Verdict]:
    """Verdicts of all rules, in the order of the file, on summaries in the shape of summary.json.

    Drops and dominance are paired where the summaries have per-prompt values (`summary_of(..., per_prompt=True)`).
    The intervals of all drops together are of 95 % (Bonferroni): a gate of many lines must not fail by chance.
    `left_out`: runs that are not among the summaries, because they are not comparable with them or not finished. Each
    gets a verdict of its own by the rules of its method.
    """
    gate = Gate(limits, summaries, baseline or {}, left_out, drop_level(limits, summaries))
    runs = Counter((str(summary.get("suite", "")), str(summary["method"])) for summary in summaries)
    runs.update((omitted.suite, omitted.method) for omitted in left_out)
    found = [verdict for rule in limits.rules for verdict in _of_rule(rule, gate)]
    return [replace(verdict, path=limits.path, several=runs[verdict.suite, verdict.method] > 1) for verdict in found]


def _of_rule(rule: Rule, gate: Gate) -> list[Verdict]:
    found = []
    for summary in (summary for summary in gate.summaries if summary["method"] == rule.method):
        found += [_bound(rule, summary, gate)] if isinstance(rule, Bound) else dominance(rule, summary, gate)
    found += [unjudged(rule, omitted, gate) for omitted in gate.left_out if omitted.method == rule.method]
    return found or [absent(rule, rule.method, gate)]


def drop_level(limits: Thresholds, summaries: Sequence[Summary] = ()) -> float:
    """The level of the interval of each drop, in (0, 1): a rule is as many tests as its method has runs."""
    runs = Counter(summary["method"] for summary in summaries)
    tests = sum(max(1, runs[bound.method]) for bound in limits.bounds if bound.rule.startswith("max_drop"))
    return 1 - ALPHA / max(1, tests)


def _numbers(status: Status, value: Interval, bound: float, prompts: int, level: float = 0.95) -> dict[str, float]:
    numbers = {"value": value.mean, "ci_low": value.low, "ci_high": value.high}
    if status == "inconclusive":
        numbers["needed"] = needed_prompts(value, bound, prompts, level)
    return numbers


def _bound(bound: Bound, summary: Summary, gate: Gate) -> Verdict:
    why = no_value(summary, bound.metric)
    if why:
        unscored = unscored_text(summary["metrics"].get(bound.metric) or {})
        return make(bound, summary, "missing", f"{why} ({unscored})" if unscored and "(" not in why else why)
    entry = summary["metrics"][bound.metric]
    if bound.rule.startswith("max_drop"):
        return _drop(bound, summary, entry, gate)
    prompts = prompts_of(summary, entry)
    now = interval_of(entry, prompts)
    status = judge(now.low, now.mean, now.high, bound.value, at_least=bound.rule == "min")
    message = _told(f"{shown(now)} against {bound.rule} {bound.value:g}", unscored_text(entry))
    return make(bound, summary, status, message, **_numbers(status, now, bound.value, prompts))


def _told(message: str, *more: str) -> str:
    return "; ".join([message, *(clause for clause in more if clause)])


def _drop(bound: Bound, summary: Summary, entry: Entry, gate: Gate) -> Verdict:
    """A drop is a loss in the metric's own direction: for FID, where lower is better, a rise."""
    before = next((one for one in gate.baseline.get("summaries", []) if _same_method(one, summary)), None)
    old = before["metrics"].get(bound.metric) if before else None
    if before is None or old is None or old.get("mean") is None:
        message = f"the baseline has no {bound.metric} of {bound.method} on suite {summary['suite']}"
        return make(bound, summary, "missing", message)
    why = why_other(summary, before, entry, old)
    if why:
        return make(bound, summary, "not_comparable", f"not comparable with the baseline: {why}")
    percent = bound.rule == "max_drop_percent"
    change = (relative_difference if percent else difference)(old, entry, same_order(before, summary), gate.drop_level)
    if not math.isfinite(change.mean):
        return make(bound, summary, "missing", f"{bound.metric} cannot be judged: {change.reason}")
    if one_pair(change, summary, entry):
        return make(bound, summary, "missing", f"{bound.metric} shares only one prompt with the baseline")
    drop = change if entry.get("direction") == "lower" else negative(change)
    return _judged_drop(bound, summary, (old, entry), drop, gate.drop_level)


def _judged_drop(bound: Bound, summary: Summary, entries: tuple[Entry, Entry], drop: Interval, level: float) -> Verdict:
    """Where values are unscored that were there before, a drop that is small enough proves nothing."""
    old, entry = entries
    status = judge(drop.low, drop.mean, drop.high, bound.value, at_least=False)
    numbers = _numbers(status, drop, bound.value, prompts_of(summary, entry), level)
    lost = lost_since(old, entry)
    if lost and status == "pass":
        status, lost = "inconclusive", f"{lost}, so the remaining values cannot decide"
    was, now = paired_means(old, entry)
    unit = " %" if bound.rule == "max_drop_percent" else ""
    message = f"{was:.4g} before, {now:.4g} now: drop {shown(drop)}{unit} against {bound.rule} {bound.value:g}"
    detectable = minimum_detectable_effect(drop, level)
    message = _told(message, unscored_text(entry), lost)
    return make(bound, summary, status, message, baseline=was, detectable=detectable, level=level, **numbers)


def _same_method(summary: Summary, other: Summary) -> bool:
    return (summary["suite"], summary["method"]) == (other["suite"], other["method"])
