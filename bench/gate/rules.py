"""What bounds and dominances of the gate have in common: verdicts of a rule on a summary, and why there is no value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.stats import Interval
from bench.gate.summary_entry import Entry, scored_prompts
from bench.gate.thresholds import Bound, Rule, Thresholds
from bench.gate.verdict import Status, Verdict, needed_text
from bench.store.select import LeftOut

Summary = Mapping[str, Any]
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Gate:
    """All that the rules are judged on. `drop_level` is the level of each drop's interval: all of them hold at 95 %."""

    limits: Thresholds
    summaries: Sequence[Summary]
    baseline: Mapping[str, Any]
    left_out: Sequence[LeftOut]
    drop_level: float


def make(rule: Rule, summary: Summary, status: Status, message: str, **numbers: Any) -> Verdict:
    """A verdict of a rule; an inconclusive one with `needed` says what would decide. `name` replaces the rule's own."""
    suite, run = str(summary.get("suite", "")), str(summary.get("run", ""))
    metric = rule.metric if isinstance(rule, Bound) else ", ".join(rule.metrics)
    own = rule.rule if isinstance(rule, Bound) else f"dominates {rule.over}"
    name = numbers.pop("name", own)
    value = rule.value if isinstance(rule, Bound) else math.nan
    if status == "inconclusive" and "needed" in numbers:
        message = f"{message}; {needed_text(numbers['needed'])}"
    return Verdict(suite, rule.method, run, metric, name, value, status, message, line=rule.line, **numbers)


def absent(rule: Rule, method: str, gate: Gate, suite: str = "") -> Verdict:
    """There is no run of a method at all, in this suite if one is given."""
    where = f" in suite {suite}" if suite else ""
    others = sorted({str(summary["suite"]) for summary in gate.summaries if summary["method"] == method} - {suite})
    there = f", but one in {' and '.join(others)}: different suites are not compared" if where and others else ""
    message = f"there is no finished run of method {method}{where}{there}"
    return make(rule, {"suite": suite or gate.limits.suite or ""}, "missing", message)


def unjudged(rule: Rule, omitted: LeftOut, gate: Gate) -> Verdict:
    """A run that was not judged: it may be the one that is meant, so the others of its method do not speak for it."""
    summary = {
        "suite": omitted.suite or gate.limits.suite or "",
        "run": omitted.run if omitted.method == rule.method else "",
    }
    if omitted.finished:
        return make(
            rule, summary, "not_comparable", f"{omitted.run} is not comparable with the other runs: {omitted.why}"
        )
    message = f"{omitted.run} is not finished: finish it with the `bench run` command that began it, or delete it"
    return make(rule, summary, "missing", message)


def no_value(summary: Summary, metric: str) -> str:
    """Why a metric of a run cannot be judged, as a sentence; "" when it has a value.

    One scored prompt of many is none: it has no interval, and which one was scored is no accident.
    """
    entry = summary["metrics"].get(metric)
    if entry is None:
        return f"{summary['run']} was not scored with {metric}: run `bench score`"
    if entry.get("mean") is None:
        return f"{metric} of {summary['run']} has no value: {entry.get('reason') or 'no value could be scored'}"
    prompts = int(summary.get("prompts") or 0)
    if entry.get("kind") != "set" and prompts > 1 and entry.get("ci_low") is None:
        return f"{metric} of {summary['run']} was scored on one prompt of {prompts}, too few to judge"
    return ""


def one_pair(change: Interval, summary: Summary, entry: Entry) -> bool:
    """Whether a difference rests on one prompt of many."""
    many = entry.get("kind") != "set" and int(summary.get("prompts") or 0) > 1
    return many and change.clusters == 1 and not math.isfinite(change.low)


def prompts_of(summary: Summary, entry: Entry) -> int:
    """How many prompts an entry of a summary rests on."""
    return scored_prompts(entry, int(summary.get("prompts") or 0))


def negative(interval: Interval) -> Interval:
    """The interval of the same difference the other way round."""
    return Interval(
        -interval.mean,
        -interval.high,
        -interval.low,
        interval.n,
        interval.n_unscored,
        interval.clusters,
        interval.reason,
    )
