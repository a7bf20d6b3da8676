"""Required dominance: a method that has to be as good as another on several metrics, and better on one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.stats import Interval
from bench.gate.rules import ALPHA, Gate, Summary, absent, make, negative, no_value, one_pair, prompts_of, unjudged
from bench.gate.summary_entry import difference, same_order, unscored_text
from bench.gate.thresholds import Dominance
from bench.gate.verdict import Status, Verdict, judge, needed_prompts, shown


def dominance(rule: Dominance, summary: Summary, gate: Gate) -> list[Verdict]:
    """A verdict per run of the other method in the same suite: where it has several, every one has to be beaten."""
    others = [one for one in gate.summaries if (one["suite"], one["method"]) == (summary["suite"], rule.over)]
    left_out = [
        omitted for omitted in gate.left_out if (omitted.suite, omitted.method) == (summary["suite"], rule.over)
    ]
    several = len(others) + len(left_out) > 1
    found = [_over(rule, summary, other, str(other["run"]) if several else rule.over) for other in others]
    found += [unjudged(rule, omitted, gate) for omitted in left_out]
    return found or [absent(rule, rule.over, gate, str(summary["suite"]))]


def _over(rule: Dominance, summary: Summary, other: Summary, over: str) -> Verdict:
    """Non-inferior within the margin in every metric, with 95 % confidence, and superior in one.

    The second is asked at a level that is Bonferroni-corrected for the number of metrics; the first needs none,
    because all have to hold (intersection-union test, Berger 1982).
    """
    name = f"dominates {over}"
    leads = []
    for metric in rule.metrics:
        why = no_value(summary, metric) or no_value(other, metric)
        if why:
            return make(rule, summary, "missing", why, name=name)
        leads.append(_lead(summary, other, metric, 0.95))
        if one_pair(leads[-1], summary, summary["metrics"][metric]):
            return make(rule, summary, "missing", f"{metric} shares only one prompt with {over}", name=name)
    states = [
        judge(lead.low, lead.mean, lead.high, -margin, at_least=True)
        for lead, margin in zip(leads, rule.margins, strict=True)
    ]
    level = 1 - ALPHA / len(rule.metrics)
    better = [_better(_lead(summary, other, metric, level)) for metric in rule.metrics]
    status = _together(states, better)
    told = [
        f"{metric} {shown(lead)}{_margin(margin)}{_unscored(summary, other, metric)}"
        for metric, lead, margin in zip(rule.metrics, leads, rule.margins, strict=True)
    ]
    message = f"lead over {over}, positive is better: {'; '.join(told)}"
    numbers: dict[str, float] = {}
    if status == "inconclusive":
        numbers["needed"] = _needed(rule, summary, leads, states, better)
    return make(rule, summary, status, message, name=name, **numbers)


def _margin(margin: float) -> str:
    return f" (may be {margin:g} worse)" if margin else ""


def _unscored(summary: Summary, other: Summary, metric: str) -> str:
    found = [f"{text} of {one['run']}" for one in (summary, other) if (text := unscored_text(one["metrics"][metric]))]
    return f" ({', '.join(found)})" if found else ""


def _lead(summary: Summary, other: Summary, metric: str, level: float) -> Interval:
    """How much better than the other, in the metric's own direction."""
    mine, theirs = summary["metrics"][metric], other["metrics"][metric]
    change = difference(theirs, mine, same_order(other, summary), level)
    return negative(change) if mine.get("direction") == "lower" else change


def _better(lead: Interval) -> Status:
    low, high = (lead.low, lead.high) if math.isfinite(lead.low) else (lead.mean, lead.mean)
    return "pass" if low > 0 else "fail" if high <= 0 else "inconclusive"


def _together(states: Sequence[Status], better: Sequence[Status]) -> Status:
    if "fail" in states or set(better) == {"fail"}:
        return "fail"
    return "pass" if set(states) == {"pass"} and "pass" in better else "inconclusive"


def _needed(
    rule: Dominance, summary: Summary, leads: Sequence[Interval], states: Sequence[Status], better: Sequence[Status]
) -> float:
    """Prompts that would settle every open margin, and, where no metric is better yet, the nearest of them."""
    prompts = [prompts_of(summary, summary["metrics"][metric]) for metric in rule.metrics]
    open_margins = [
        needed_prompts(lead, -margin, n)
        for lead, margin, n, state in zip(leads, rule.margins, prompts, states, strict=True)
        if state == "inconclusive"
    ]
    open_leads = [needed_prompts(lead, 0.0, n) for lead, n in zip(leads, prompts, strict=True)]
    return max([*open_margins, *([] if "pass" in better else [min(open_leads)])], default=math.nan)
