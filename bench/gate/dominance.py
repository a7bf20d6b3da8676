"""Required dominance: a method that has to be as good as another on several metrics, and better on one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.noise import noise_text
from bench.gate.changes import Change, change_of
from bench.gate.rules import Gate, absent, make, no_value, one_pair, prompts_of, unjudged, unscored_text
from bench.gate.summaries import Summary
from bench.gate.thresholds import Dominance
from bench.gate.verdict import Status, Verdict, needed_prompts, shown, without_interval
from bench.store.cards import card_difference


def dominance(rule: Dominance, summary: Summary, gate: Gate) -> list[Verdict]:
    """A verdict per run of the other method in the same suite: where it has several, every one has to be beaten."""
    others = [one for one in gate.summaries if (one.suite, one.method) == (summary.suite, rule.over)]
    left_out = [omitted for omitted in gate.left_out if (omitted.suite, omitted.method) == (summary.suite, rule.over)]
    several = len(others) + len(left_out) > 1
    found = [_over(rule, summary, other, other.run if several else rule.over, gate) for other in others]
    found += [unjudged(rule, omitted, gate) for omitted in left_out]
    return found or [absent(rule, rule.over, gate, summary.suite)]


def _over(rule: Dominance, summary: Summary, other: Summary, over: str, gate: Gate) -> Verdict:
    """Non-inferior within its margin in every metric, and better in one, both at the gate's level.

    The second is asked at a level that is Bonferroni-corrected for the number of metrics; the first needs none,
    because all have to hold (intersection-union test, Berger 1982).
    """
    name = f"dominates {over}"
    leads: list[Change] = []
    for metric in rule.metrics:
        why = no_value(summary, metric) or no_value(other, metric) or _other_n(summary, other, metric)
        if why:
            return make(rule, summary, "missing", why, name=name)
        how = card_difference(other.metrics[metric].card, summary.metrics[metric].card)
        if how:
            why = f"{metric} was computed differently for {over}: {how}; score both again with `bench score`"
            return make(rule, summary, "not_comparable", why, name=name)
        leads.append(_lead(summary, other, metric, gate, gate.level))
        if one_pair(leads[-1].interval, summary, summary.metrics[metric]):
            return make(rule, summary, "missing", f"{metric} shares only one prompt with {over}", name=name)
    states = [
        lead.held_against(-margin, at_least=True, common=gate.common)
        for lead, margin in zip(leads, rule.margins, strict=True)
    ]
    level = 1 - (1 - gate.level) / len(rule.metrics)
    better = [_better(_lead(summary, other, metric, gate, level), gate) for metric in rule.metrics]
    status = _together(states, better)
    told = [
        f"{metric} {shown(lead.interval)}{_margin(margin)}{_said(summary, other, metric, lead)}"
        for metric, lead, margin in zip(rule.metrics, leads, rule.margins, strict=True)
    ]
    message = f"lead over {over}, positive is better: {'; '.join(told)}"
    numbers: dict[str, Any] = {}
    settled = any(lead.gaps or lead.open_ or without_interval(lead.interval) for lead in leads)
    if status == "undecided" and not settled:  # more prompts do not bring back what is not there
        numbers["needed"] = _needed(rule, summary, leads, states, better)
    noise = noise_text({summary.run or summary.method: summary.conditions, other.run or over: other.conditions})
    numbers |= {"noise": noise, "also_trained_on": other.trained_on}
    return make(rule, summary, status, message, name=name, **numbers)


def _other_n(summary: Summary, other: Summary, metric: str) -> str:
    mine, theirs = summary.metrics[metric], other.metrics[metric]
    if not mine.is_set or mine.interval.n == theirs.interval.n:
        return ""
    sizes = f"N = {mine.interval.n:,} and {theirs.interval.n:,}"
    return f"{metric} rests on {sizes} images: values of a set metric are not subtracted"


def _margin(margin: float) -> str:
    return f" (may be {margin:g} worse)" if margin else ""


def _said(summary: Summary, other: Summary, metric: str, lead: Change) -> str:
    found = [f"{text} of {one.run}" for one in (summary, other) if (text := unscored_text(one.metrics[metric]))]
    why = lead.open_ or without_interval(lead.interval)
    found += [text for text in (lead.gaps, why) if text]
    return f" ({', '.join(found)})" if found else ""


def _lead(summary: Summary, other: Summary, metric: str, gate: Gate, level: float) -> Change:
    """How much better than the other, in the metric's own direction."""
    change = change_of(other, summary, metric, level, seen=gate.seen.get(metric))
    return change if summary.metrics[metric].higher else change.flipped()


def _better(lead: Change, gate: Gate) -> Status:
    """Better: the interval lies above zero, with the worst case in the gaps as well; not better: none of it does.

    Without an interval it is not surely better, and not better where the value is not.
    """
    if lead.open_:
        return "undecided"
    parts = [lead.interval] if gate.common else [lead.interval, lead.least]
    high, best = (one.mean if math.isnan(one.high) else one.high for one in (lead.interval, lead.most))
    if all(part.low > 0 for part in parts):
        return "passed"
    return "failed" if max(high, high if gate.common else best) <= 0 else "undecided"


def _together(states: Sequence[Status], better: Sequence[Status]) -> Status:
    if "failed" in states or set(better) == {"failed"}:
        return "failed"
    return "passed" if set(states) == {"passed"} and "passed" in better else "undecided"


def _needed(
    rule: Dominance, summary: Summary, leads: Sequence[Change], states: Sequence[Status], better: Sequence[Status]
) -> float:
    """Prompts that would settle every open margin, and, where no metric is better yet, the nearest of them."""
    prompts = [prompts_of(summary, summary.metrics[metric]) for metric in rule.metrics]
    open_margins = [
        needed_prompts(lead.interval, -margin, n)
        for lead, margin, n, state in zip(leads, rule.margins, prompts, states, strict=True)
        if state == "undecided"
    ]
    open_leads = [needed_prompts(lead.interval, 0.0, n) for lead, n in zip(leads, prompts, strict=True)]
    return max([*open_margins, *([] if "passed" in better else [min(open_leads)])], default=math.nan)
