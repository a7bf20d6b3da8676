"""What the site shows: per suite the groups of comparable runs, the newest of each method ranked, and its history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bench.analysis.comparable import differing_notes, largest_comparable, why_not_comparable, with_equal_cards
from bench.analysis.differences import Difference, corrected, difference
from bench.analysis.several import Several, compare_runs
from bench.analysis.stats import Interval
from bench.analysis.summary import metric_interval
from bench.formatting import counted
from bench.reporting.leaderboard.record import Record, run_of
from bench.store.runs import MetricFacts, Run, metric_order


@dataclass(frozen=True)
class Entry:
    """A finished run with its record, where it came from, and the report that shows it ("" without one).

    `method`: what its line goes by, which is that of its group's other runs of the same thing. `folders`: all that it
    was found in, which no page shows.
    """

    record: Record
    source: str
    report: str = ""
    folders: set[str] = field(default_factory=set, repr=False, compare=False)
    run: Run = field(init=False, repr=False)
    method: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", run_of(self.record))
        elsewhere = " (scored elsewhere)" if self.record.scored == "elsewhere" else ""
        object.__setattr__(self, "method", f"{self.name}{elsewhere}")

    @property
    def name(self) -> str:
        """The name that it was given, else the method."""
        return self.record.name or self.record.method

    @property
    def age(self) -> tuple[float, str]:
        """Sort key, the oldest first; runs of one instant by name, those without a date before all others."""
        created = self.record.created
        return datetime.fromisoformat(created).timestamp() if created else -math.inf, self.record.run


@dataclass(frozen=True)
class Point:
    """One run in the history of a method: its mean in a metric."""

    entry: Entry
    interval: Interval


@dataclass(frozen=True)
class Trend:
    """A method over time in one metric, oldest first; `change`: the newest minus the oldest, paired."""

    method: str
    facts: MetricFacts
    points: tuple[Point, ...]
    change: Difference | None = None


@dataclass(frozen=True)
class Group:
    """Comparable runs of one suite. `newest`: one a method, as ranked; `trends` of methods with several runs."""

    suite: str
    title: str
    newest: tuple[Entry, ...]
    several: Several | None
    trends: tuple[Trend, ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> list[MetricFacts]:
        """All metrics of the ranked runs, in the order of tables."""
        facts = {name: one for entry in self.newest for name, one in entry.run.metrics.items()}
        return sorted(facts.values(), key=metric_order)

    @property
    def protocol(self) -> str:
        """How many prompts and images, and the seed."""
        run = self.newest[0].run
        seed = run.conditions.get("seed")
        parts = [f"{counted(len(run.prompts), 'prompt')} × {counted(run.samples, 'image')} per prompt"]
        return "; ".join([*parts, *([f"seed {seed}"] if seed is not None else [])])


def groups_of(entries: Sequence[Entry]) -> list[Group]:
    """Per suite, the largest group of comparable runs first; every entry is in one group."""
    found = []
    for suite in sorted({entry.record.suite for entry in entries}):
        left = [entry for entry in entries if entry.record.suite == suite]
        while left:
            kept, _ = largest_comparable([entry.run for entry in left])
            members = [entry for entry in left if any(entry.run is run for run in kept)]
            found.append(_group(members))
            left = [entry for entry in left if entry not in members]
    return found


def _group(members: Sequence[Entry]) -> Group:
    by_method = _lines(sorted(members, key=lambda entry: entry.age))
    newest = [line[-1] for line in by_method.values()]
    runs = with_equal_cards([entry.run for entry in newest])
    for entry, run in zip(newest, runs, strict=True):
        object.__setattr__(entry, "run", run)
    names = [entry.method for entry in newest]
    several = compare_runs(runs) if len(runs) > 1 else None
    notes = [*differing_notes(runs, names), *(several.notes if several else ())]
    elsewhere = [entry.name for entry in newest if entry.record.scored == "elsewhere"]
    if elsewhere:
        notes.append(f"not scored here, values as given by others: {', '.join(elsewhere)}")
    undated = [entry.record.run for entry in members if not entry.record.created]
    if undated:
        notes.append(f"without a date on record, so taken for older than all others: {', '.join(undated)}")
    trends, told = _trends(by_method)
    first = newest[0].record
    return Group(first.suite, first.title or first.suite, tuple(newest), several, tuple(trends), (*notes, *told))


def _lines(members: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The runs of each line by its label, and the label in them.

    Values of others are no history of ours. Runs of one method with several tuned weights in one folder stand side by
    side, named by their run; one whose weights differ from folder to folder was trained again, and is one line.
    """
    by_name: dict[tuple[str, str], list[Entry]] = {}
    for entry in members:
        by_name.setdefault((entry.name, entry.record.scored), []).append(entry)
    lines: dict[str, list[Entry]] = {}
    for line in by_name.values():
        folders = {folder for entry in line for folder in entry.folders}
        apart = any(len({one.record.tuned for one in line if folder in one.folders}) > 1 for folder in folders)
        by_weights: dict[str, list[Entry]] = {}
        for entry in line:
            by_weights.setdefault(entry.record.tuned if apart else "", []).append(entry)
        for own in by_weights.values():
            label = own[-1].record.run if apart else own[-1].method
            while label in lines:  # a record of others may call itself anything
                label += " (another)"
            for entry in own:
                object.__setattr__(entry, "method", label)
            lines[label] = own
    return lines


def _trends(by_method: dict[str, list[Entry]]) -> tuple[list[Trend], list[str]]:
    """Histories of methods with several runs; runs that another version of a metric scored are left out and named."""
    found: list[Trend] = []
    told: list[str] = []
    for method, line in by_method.items():
        for facts in sorted(line[-1].run.metrics.values(), key=metric_order) if len(line) > 1 else ():
            kept = [one for one in line if one is line[-1] or _same_metric(one.run, line[-1].run, facts.name)]
            away = [one.record.run for one in line if facts.name in one.run.metrics and one not in kept]
            if away:
                told.append(f"{facts.display} of {', '.join(away)} was computed differently, so not in the history")
            if len(kept) > 1:
                points = tuple(Point(one, metric_interval(one.run, facts.name)) for one in kept)
                change = difference(kept[0].run, kept[-1].run, facts.name)
                found.append(Trend(method, facts, points, change))
    tests = corrected([one.change for one in found if one.change is not None])
    return [Trend(one.method, one.facts, one.points, test) for one, test in zip(found, tests, strict=True)], told


def _same_metric(a: Run, b: Run, metric: str) -> bool:
    return metric in a.metrics and why_not_comparable(a.only([metric]), b.only([metric]), metrics=[metric]) is None


def ranks_of(group: Group) -> dict[tuple[str, str], tuple[int, int]]:
    """(method, metric) -> the best and the worst rank, all together with 95 %; nothing for a method alone."""
    if group.several is None:
        return {}
    shown = dict(zip(group.several.names, (entry.method for entry in group.newest), strict=True))
    return {
        (shown[name], one.facts.name): ranks
        for one in group.several.metrics
        for name, ranks in zip(one.methods, one.ranks, strict=True)
    }


def board_rows(groups: Sequence[Group]) -> list[dict[str, object]]:
    """Rows of leaderboard.csv: one per group, method and metric."""
    rows: list[dict[str, object]] = []
    for number, group in enumerate(groups, 1):
        ranks = ranks_of(group)
        for entry in group.newest:
            for facts in group.metrics:
                if facts.name not in entry.run.metrics:
                    continue
                low, high = ranks.get((entry.method, facts.name), ("", ""))
                rows.append(
                    _common(number, group, entry, facts, metric_interval(entry.run, facts.name))
                    | {"rank_best": low, "rank_worst": high, "scored": entry.record.scored, "source": entry.source}
                )
    return rows


def history_rows(groups: Sequence[Group]) -> list[dict[str, object]]:
    """Rows of history.csv: one per group, method, metric and run, of methods with several runs."""
    return [
        _common(number, group, point.entry, trend.facts, point.interval)
        | {
            "change": trend.change.interval.mean if trend.change and point is trend.points[-1] else math.nan,
            "change_low": trend.change.interval.low if trend.change and point is trend.points[-1] else math.nan,
            "change_high": trend.change.interval.high if trend.change and point is trend.points[-1] else math.nan,
        }
        for number, group in enumerate(groups, 1)
        for trend in group.trends
        for point in trend.points
    ]


def _common(number: int, group: Group, entry: Entry, facts: MetricFacts, interval: Interval) -> dict[str, object]:
    return {
        "suite": group.suite,
        "group": number,
        "method": entry.method,
        "run": entry.record.run,
        "created": entry.record.created,
        "metric": facts.name,
        "direction": facts.direction,
        "mean": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n": interval.n,
        "n_unscored": interval.n_unscored,
    }
