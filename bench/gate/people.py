"""Bounds on what people say: entries of human metrics in the summaries of the runs that a study showed.

[imagerefl.human_preference]
min = 0.5                 # the share of votes won against all other methods of the study, ties half
over = "base"             # optional: against this one alone
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bench.analysis.people import HUMAN_METRICS
from bench.analysis.stats import Interval
from bench.gate.summaries import Entry, Summary
from bench.gate.thresholds import OVER, Bound
from bench.store.runs import Run
from bench.study.people import VotesOf


def with_people(
    summaries: Sequence[Summary], runs: Sequence[Run], bounds: Sequence[Bound], people: VotesOf | None
) -> list[Summary]:
    """The summaries of `runs` with an entry for each human metric that a bound names; without votes it says why."""
    found = []
    for summary, run in zip(summaries, runs, strict=True):
        metrics = {b.metric for b in bounds if b.method == summary.method and is_human(b.metric)}
        entries = {metric: _entry(metric, run, people) for metric in sorted(metrics)}
        found.append(replace(summary, metrics={**summary.metrics, **entries}))
    return found


def is_human(metric: str) -> bool:
    """Whether the metric of a bound is one of people, with or without the method that it is over."""
    return metric.split(OVER)[0] in HUMAN_METRICS


def _entry(metric: str, run: Run, people: VotesOf | None) -> Entry:
    rate, why = _rate(metric, run, people)
    interval = rate or Interval(math.nan, math.nan, math.nan, 0, 0, 0, why)
    return Entry(metric, "", "higher", interval, why or interval.reason or "")


def _rate(metric: str, run: Run, people: VotesOf | None) -> tuple[Interval | None, str]:
    name, _, over = metric.partition(OVER)
    if people is None:
        return None, "it is what people say, so pass the folder of a study with --study"
    recorded = {people.run_of(method): method for method in people.findings.methods}
    method = recorded.get(run.name, run.method)
    seen = people.run_of(method)
    if seen and seen != run.name:
        return None, f"people saw the run {seen}, not {run.name}"
    return people.win_rate(name, method, over)
