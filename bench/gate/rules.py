"""What bounds and dominances of the gate have in common: verdicts of a rule on a summary, and why there is no value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.analysis.bounded import Bounds
from bench.analysis.in_reward import in_reward
from bench.analysis.stats import Interval
from bench.gate.summaries import Entry, Summary
from bench.gate.thresholds import Bound, Rule, Thresholds
from bench.gate.verdict import Status, Verdict, needed_text
from bench.store.select import LeftOut

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Gate:
    """All that the rules are judged on. `drop_level` is the level of each drop's interval: all of them hold at 95 %."""

    limits: Thresholds
    summaries: Sequence[Summary]
    baseline: Sequence[Summary]
    left_out: Sequence[LeftOut]
    drop_level: float
    level: float = 0.95  # of bounds and dominances, each by itself; nightly: all lines of all nights together
    common: bool = False  # over the values that all runs have
    shared: int = 1  # how many lines the level of drops is shared among
    seen: Mapping[str, Bounds] = field(default_factory=dict)  # per metric, the extreme values of all that is compared


def make(rule: Rule, summary: Summary | None, status: Status, message: str, **numbers: Any) -> Verdict:
    """A verdict of a rule; an undecided one with `needed` says what would decide. `name` replaces the rule's own."""
    suite, run = (summary.suite, summary.run) if summary is not None else ("", "")
    metric = rule.metric if isinstance(rule, Bound) else ", ".join(rule.metrics)
    own = rule.rule if isinstance(rule, Bound) else f"dominates {rule.over}"
    name, suite, run = numbers.pop("name", own), numbers.pop("suite", suite), numbers.pop("run", run)
    value = rule.value if isinstance(rule, Bound) else math.nan
    judged = [rule.metric] if isinstance(rule, Bound) else list(rule.metrics)
    on = [*(summary.trained_on if summary is not None else ()), *numbers.pop("also_trained_on", ())]
    numbers["trained"] = tuple(one for one in judged if in_reward(on, one))
    if status == "undecided" and "needed" in numbers:
        message = f"{message}; {needed_text(numbers['needed'])}"
    return Verdict(suite, rule.method, run, metric, name, value, status, message, line=rule.line, **numbers)


def absent(rule: Rule, method: str, gate: Gate, suite: str = "") -> Verdict:
    """There is no run of a method at all, in this suite if one is given."""
    where = f" in suite {suite}" if suite else ""
    others = sorted({summary.suite for summary in gate.summaries if summary.method == method} - {suite})
    there = f", but one in {' and '.join(others)}: different suites are not compared" if where and others else ""
    message = f"there is no finished run of method {method}{where}{there}"
    return make(rule, None, "missing", message, suite=suite or gate.limits.suite or "")


def unjudged(rule: Rule, omitted: LeftOut, gate: Gate) -> Verdict:
    """A run that was not judged: it may be the one that is meant, so the others of its method do not speak for it."""
    suite = omitted.suite or gate.limits.suite or ""
    run = omitted.run if omitted.method == rule.method else ""
    if omitted.finished:
        message = f"{omitted.run} is not comparable with the other runs: {omitted.why}"
        return make(rule, None, "not_comparable", message, suite=suite, run=run)
    message = f"{omitted.run} is not finished: finish it with the `bench run` command that began it, or delete it"
    return make(rule, None, "missing", message, suite=suite, run=run)


def no_value(summary: Summary, metric: str) -> str:
    """Why a metric of a run cannot be judged, as a sentence; "" when it has a value.

    One scored prompt of many is none: it has no interval, and which one was scored is no accident.
    """
    entry = summary.metrics.get(metric)
    if entry is None:
        return f"{summary.run} was not scored with {metric}: run `bench score`"
    if not math.isfinite(entry.mean):
        return f"{metric} of {summary.run} has no value: {entry.reason or 'no value could be scored'}"
    if not entry.is_set and summary.prompts > 1 and entry.interval.clusters == 1:
        return f"{metric} of {summary.run} was scored on one prompt of {summary.prompts}, too few to judge"
    return ""


def one_pair(change: Interval, summary: Summary, entry: Entry) -> bool:
    """Whether a difference rests on one prompt of many."""
    return not entry.is_set and summary.prompts > 1 and change.clusters == 1 and not math.isfinite(change.low)


def prompts_of(summary: Summary, entry: Entry) -> int:
    """How many prompts an entry of a summary rests on."""
    return summary.prompts if entry.is_set else entry.interval.clusters or summary.prompts


def unscored_text(entry: Entry) -> str:
    """How many of an entry's values could not be scored, for instance "3 of 160 values unscored"; "" for none."""
    lost = entry.n_unscored
    return f"{lost:,} of {entry.interval.n + lost:,} values unscored" if lost else ""
