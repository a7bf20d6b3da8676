"""The rules of a thresholds file, judged on summaries: bounds, drops against a baseline, dominance. Pure functions.

An interval that straddles a bound decides nothing: the verdict is `inconclusive`, with the number of prompts that would
decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.judging.entries import Entry, gap, interval_of, relative_gap, same_order, scored_prompts, why_other
from bench.judging.verdict import Status, Verdict, judge, needed_prompts, needed_text, shown
from bench.runs import LeftOut
from bench.stats import Interval, minimum_detectable_effect
from bench.thresholds import Bound, Dominance, Rule, Thresholds

Summary = Mapping[str, Any]
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class _Gate:
    """All that the rules are judged on. `drop_level` is the level of each drop's interval: all of them hold at 95 %."""

    limits: Thresholds
    summaries: Sequence[Summary]
    baseline: Mapping[str, Any]
    left_out: Mapping[str, LeftOut]
    drop_level: float


def verdicts(
    limits: Thresholds,
    summaries: Sequence[Summary],
    baseline: Mapping[str, Any] | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
) -> list[Verdict]:
    """Verdicts of all rules, in the order of the file, on summaries in the shape of summary.json.

    Drops and dominance are paired where the summaries have per-prompt values (`summary_of(..., per_prompt=True)`).
    The intervals of all drops together are of 95 % (Bonferroni): a gate of many lines must not fail by chance.
    `left_out`: by method, runs that are not comparable with those of the summaries.
    """
    gate = _Gate(limits, summaries, baseline or {}, left_out or {}, drop_level(limits))
    found: list[Verdict] = []
    for rule in limits.rules:
        mine = [summary for summary in summaries if summary["method"] == rule.method]
        if not mine:
            found.append(_absent(rule, rule.method, gate))
        for summary in mine:
            found.append(_bound(rule, summary, gate) if isinstance(rule, Bound) else _dominance(rule, summary, gate))
    return [replace(verdict, path=limits.path) for verdict in found]


def drop_level(limits: Thresholds) -> float:
    """The level of the interval of each drop, in (0, 1)."""
    return 1 - _ALPHA / max(1, sum(bound.rule.startswith("max_drop") for bound in limits.bounds))


def _make(rule: Rule, summary: Summary, status: Status, message: str, **numbers: Any) -> Verdict:
    suite, run = str(summary.get("suite", "")), str(summary.get("run", ""))
    metric = rule.metric if isinstance(rule, Bound) else ", ".join(rule.metrics)
    name = rule.rule if isinstance(rule, Bound) else f"dominates {rule.over}"
    value = rule.value if isinstance(rule, Bound) else math.nan
    if status == "inconclusive":
        message = f"{message}; {needed_text(numbers.get('needed', math.nan))}"
    return Verdict(suite, rule.method, run, metric, name, value, status, message, line=rule.line, **numbers)


def _absent(rule: Rule, method: str, gate: _Gate) -> Verdict:
    limits, other = gate.limits, gate.left_out.get(method)
    if other is not None:
        message = f"{other.run} is not comparable with the other runs: {other.why}"
        return _make(rule, {"suite": limits.suite or "", "run": other.run}, "not_comparable", message)
    return _make(rule, {"suite": limits.suite or ""}, "missing", f"there is no finished run of method {method}")


def _no_value(summary: Summary, metric: str) -> str:
    """Why a metric of a run cannot be judged, as a sentence; "" when it has a value."""
    entry = summary["metrics"].get(metric)
    if entry is None:
        return f"{summary['run']} was not scored with {metric}: run `bench score`"
    if entry.get("mean") is None:
        return f"{metric} of {summary['run']} has no value: {entry.get('reason') or 'no value could be scored'}"
    return ""


def _prompts(summary: Summary, entry: Entry) -> int:
    return scored_prompts(entry, int(summary.get("prompts") or 0))


def _numbers(status: Status, value: Interval, bound: float, prompts: int, level: float = 0.95) -> dict[str, float]:
    numbers = {"value": value.mean, "ci_low": value.low, "ci_high": value.high}
    if status == "inconclusive":
        numbers["needed"] = needed_prompts(value, bound, prompts, level)
    return numbers


def _bound(bound: Bound, summary: Summary, gate: _Gate) -> Verdict:
    why = _no_value(summary, bound.metric)
    if why:
        return _make(bound, summary, "missing", why)
    entry = summary["metrics"][bound.metric]
    if bound.rule.startswith("max_drop"):
        return _drop(bound, summary, entry, gate)
    prompts = _prompts(summary, entry)
    now = interval_of(entry, prompts)
    status = judge(now.low, now.mean, now.high, bound.value, at_least=bound.rule == "min")
    message = f"{shown(now)} against {bound.rule} {bound.value:g}"
    return _make(bound, summary, status, message, **_numbers(status, now, bound.value, prompts))


def _drop(bound: Bound, summary: Summary, entry: Entry, gate: _Gate) -> Verdict:
    """A drop is a loss in the metric's own direction: for FID, where lower is better, a rise."""
    before = next((one for one in gate.baseline.get("summaries", []) if _same_method(one, summary)), None)
    old = before["metrics"].get(bound.metric) if before else None
    if before is None or old is None or old.get("mean") is None:
        message = f"the baseline has no {bound.metric} of {bound.method} on suite {summary['suite']}"
        return _make(bound, summary, "missing", message)
    why = why_other(summary, before, entry, old)
    if why:
        return _make(bound, summary, "not_comparable", f"not comparable with the baseline: {why}")
    percent = bound.rule == "max_drop_percent"
    change = (relative_gap if percent else gap)(old, entry, same_order(before, summary), gate.drop_level)
    if not math.isfinite(change.mean):
        return _make(bound, summary, "missing", f"{bound.metric} cannot be judged: {change.reason}")
    drop = change if entry.get("direction") == "lower" else _negative(change)
    status = judge(drop.low, drop.mean, drop.high, bound.value, at_least=False)
    was, now = float(old["mean"]), float(entry["mean"])
    unit = " %" if percent else ""
    message = f"{was:.4g} before, {now:.4g} now: drop {shown(drop)}{unit} against {bound.rule} {bound.value:g}"
    numbers = _numbers(status, drop, bound.value, _prompts(summary, entry), gate.drop_level)
    numbers["detectable"] = minimum_detectable_effect(drop, gate.drop_level)
    return _make(bound, summary, status, message, baseline=was, **numbers)


def _negative(one: Interval) -> Interval:
    return Interval(-one.mean, -one.high, -one.low, one.n, one.n_unscored, one.clusters, one.reason)


def _same_method(one: Summary, other: Summary) -> bool:
    return (one["suite"], one["method"]) == (other["suite"], other["method"])


def _dominance(rule: Dominance, summary: Summary, gate: _Gate) -> Verdict:
    """Surely not worse by more than its margin in every metric, and surely better in one.

    The second is asked at a level that is Bonferroni-corrected for the number of metrics; the first needs none,
    because all have to hold (intersection-union test, Berger 1982).
    """
    same_suite = (one for one in gate.summaries if one["suite"] == summary["suite"])
    other = next((one for one in same_suite if one["method"] == rule.over), None)
    if other is None:
        return _absent(rule, rule.over, gate)
    for metric in rule.metrics:
        why = _no_value(summary, metric) or _no_value(other, metric)
        if why:
            return _make(rule, summary, "missing", why)
    leads = [_lead(rule, summary, other, metric, 0.95) for metric in rule.metrics]
    states = [
        judge(lead.low, lead.mean, lead.high, -margin, at_least=True)
        for lead, margin in zip(leads, rule.margins, strict=True)
    ]
    level = 1 - _ALPHA / len(rule.metrics)
    better = [_better(_lead(rule, summary, other, metric, level)) for metric in rule.metrics]
    status = _together(states, better)
    told = [
        f"{metric} {shown(lead)}{_margin(margin)}"
        for metric, lead, margin in zip(rule.metrics, leads, rule.margins, strict=True)
    ]
    message = f"lead over {rule.over}, positive is better: {'; '.join(told)}"
    numbers: dict[str, float] = {}
    if status == "inconclusive":
        numbers["needed"] = _needed_to_dominate(rule, summary, leads, states, better)
    return _make(rule, summary, status, message, **numbers)


def _margin(margin: float) -> str:
    return f" (may be {margin:g} worse)" if margin else ""


def _lead(rule: Dominance, summary: Summary, other: Summary, metric: str, level: float) -> Interval:
    """How much better than the other, in the metric's own direction."""
    mine, theirs = summary["metrics"][metric], other["metrics"][metric]
    change = gap(theirs, mine, same_order(other, summary), level)
    return _negative(change) if mine.get("direction") == "lower" else change


def _better(lead: Interval) -> Status:
    low, high = (lead.low, lead.high) if math.isfinite(lead.low) else (lead.mean, lead.mean)
    return "pass" if low > 0 else "fail" if high <= 0 else "inconclusive"


def _together(states: Sequence[Status], better: Sequence[Status]) -> Status:
    if "fail" in states or set(better) == {"fail"}:
        return "fail"
    return "pass" if set(states) == {"pass"} and "pass" in better else "inconclusive"


def _needed_to_dominate(
    rule: Dominance, summary: Summary, leads: Sequence[Interval], states: Sequence[Status], better: Sequence[Status]
) -> float:
    """Prompts that would settle every open margin, and, where no metric is surely better yet, the nearest of them."""
    prompts = [_prompts(summary, summary["metrics"][metric]) for metric in rule.metrics]
    open_margins = [
        needed_prompts(lead, -margin, n)
        for lead, margin, n, state in zip(leads, rule.margins, prompts, states, strict=True)
        if state == "inconclusive"
    ]
    open_leads = [needed_prompts(lead, 0.0, n) for lead, n in zip(leads, prompts, strict=True)]
    return max([*open_margins, *([] if "pass" in better else [min(open_leads)])], default=math.nan)
