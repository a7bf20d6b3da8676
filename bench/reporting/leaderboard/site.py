"""The page of the leaderboard: tables and small drawings, no scripts. Names are untrusted; the template escapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.in_reward import dagger_line, in_reward
from bench.analysis.summary import metric_interval
from bench.reporting.cells import DAGGER, CellText, decimals, difference_cell, number, range_text
from bench.reporting.leaderboard.board import Entry, Group, Trend, ranks_of
from bench.reporting.leaderboard.record import file_name
from bench.reporting.page import asset, content_policy, environment
from bench.reporting.style import looks
from bench.store.runs import MetricFacts

WIDE, HIGH = 168, 46
_PAD = 6


def site(groups: Sequence[Group], left_out: Sequence[str], sources: Sequence[str]) -> str:
    """index.html of the leaderboard as text."""
    names = sorted({entry.method for group in groups for entry in group.newest})
    return (
        environment()
        .get_template("leaderboard.html.j2")
        .render(
            style=asset("page.css"),
            policy=content_policy([]),
            groups=[_filled(group) for group in groups],
            left_out=left_out,
            sources=sources,
            looks=looks(names),
            SURE=SURE,
            UNSURE=UNSURE,
            dagger=dagger_line(),
            file_name=file_name,
            wide=WIDE,
            high=HIGH,
        )
    )


def _filled(group: Group) -> dict[str, Any]:
    metrics, ranks = group.metrics, ranks_of(group)
    digits = {
        facts.name: decimals(
            metric_interval(entry.run, facts.name) for entry in group.newest if facts.name in entry.run.metrics
        )
        for facts in metrics
    }
    lines = [
        (entry, [_cell(entry, facts, digits[facts.name], ranks.get((entry.method, facts.name))) for facts in metrics])
        for entry in _ordered(group)
    ]
    return {"group": group, "metrics": metrics, "lines": lines, "trends": _drawn_trends(group)}


def _ordered(group: Group) -> list[Entry]:
    """By the first metric, its best mean first; methods that it did not score last, by name."""
    facts = group.metrics[0] if group.metrics else None

    def key(entry: Entry) -> tuple[float, str]:
        if facts is None or facts.name not in entry.run.metrics:
            return math.inf, entry.method
        mean = metric_interval(entry.run, facts.name).mean
        return (-mean if facts.higher else mean) if math.isfinite(mean) else math.inf, entry.method

    return sorted(group.newest, key=key)


def _cell(entry: Entry, facts: MetricFacts, digits: int, ranks: tuple[int, int] | None) -> tuple[CellText, str] | None:
    """The mean with its interval, and the rank interval as text."""
    if facts.name not in entry.run.metrics:
        return None
    interval = metric_interval(entry.run, facts.name)
    mark = DAGGER if in_reward(entry.record.trained_on, facts.name) else ""
    lost = f"n={interval.n}, {interval.n_unscored} unscored" if interval.n_unscored else ""
    rank = "" if ranks is None else str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}\N{EN DASH}{ranks[1]}"
    return CellText(number(interval.mean, digits), range_text(interval, digits), mark, lost), rank


def _drawn_trends(group: Group) -> list[dict[str, Any]]:
    """Per method with several runs, a drawing and the change in each metric; heights of a metric are common to all."""
    by_method: dict[str, dict[str, Trend]] = {}
    for trend in group.trends:
        by_method.setdefault(trend.method, {})[trend.facts.name] = trend
    names = [facts.name for facts in group.metrics if any(facts.name in line for line in by_method.values())]
    facts = {one.name: one for one in group.metrics}
    reach = {name: _reach([line[name] for line in by_method.values() if name in line]) for name in names}
    digits = {
        name: decimals(
            line[name].change.interval  # type: ignore[union-attr]
            for line in by_method.values()
            if name in line and line[name].change is not None
        )
        for name in names
    }
    return [
        {
            "method": method,
            "cells": [_drawn(line[name], reach[name], digits[name]) if name in line else None for name in names],
            "metrics": [facts[name] for name in names],
        }
        for method, line in by_method.items()
    ]


def _ends(trend: Trend) -> list[float]:
    return [
        value
        for point in trend.points
        for value in (point.interval.mean, point.interval.low, point.interval.high)
        if math.isfinite(value)
    ]


def _reach(trends: Sequence[Trend]) -> tuple[float, float]:
    values = [value for trend in trends for value in _ends(trend)] or [0.0]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _drawn(trend: Trend, reach: tuple[float, float], digits: int) -> dict[str, Any]:
    """Points from left to right in the order of time, evenly; better is up, also where lower values are better."""
    points = [point for point in trend.points if math.isfinite(point.interval.mean)]
    step = (WIDE - 2 * _PAD) / max(1, len(points) - 1)

    def y(value: float) -> float:
        share = (value - reach[0]) / (reach[1] - reach[0])
        share = share if trend.facts.higher else 1 - share
        return round(HIGH - _PAD - share * (HIGH - 2 * _PAD), 1)

    spots = []
    for i, point in enumerate(points):
        one = point.interval
        ends = (y(one.low), y(one.high)) if math.isfinite(one.low) else None
        told = (
            f"{point.entry.record.created or 'no date'}: {number(one.mean, digits + 1)} {range_text(one, digits + 1)}"
        )
        spots.append({"x": round(_PAD + i * step, 1), "y": y(one.mean), "ends": ends, "told": told})
    cell = difference_cell(trend.change, digits) if trend.change is not None else None
    return {"spots": spots, "path": " ".join(f"{one['x']},{one['y']}" for one in spots), "change": cell}
