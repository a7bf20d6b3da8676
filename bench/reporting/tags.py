"""A table per tag of the prompts: means of all methods over the tag's prompts, and differences to the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.by_tag import TagDifference, tag_counts, tag_differences_against
from bench.analysis.differences import LEAST_PROMPTS, SURE, UNSURE, difference_row
from bench.analysis.table.rows import Table
from bench.formatting import counted
from bench.reporting.cells import DAGGER, CellText, decimals, difference_cell, number
from bench.reporting.records import records_csv
from bench.store.runs import MetricFacts

MOST = 30  # tags with a table; the others are named


@dataclass(frozen=True, slots=True)
class TagCell:
    """A mean over a tag's prompts and, but for the reference, its difference to that of the reference."""

    mean: str
    value: float
    difference: CellText | None = None


@dataclass(frozen=True)
class Tags:
    """`tables`: tag -> number of prompts; `found`: method -> its differences to the reference, by (metric, tag)."""

    tables: Mapping[str, int]
    left_out: tuple[str, ...]
    found: Mapping[str, Mapping[tuple[str, str], TagDifference]]


def tags_of(table: Table) -> Tags | None:
    """Of prompts with tags and a reference; the tags with the most prompts where there are many."""
    base = next((row for row in table.rows if row.name == table.reference), None)
    if base is None or len(table.rows) < 2:
        return None
    counts = tag_counts(base.run)
    if not counts:
        return None
    kept = set(sorted(counts, key=lambda tag: (-counts[tag], tag))[:MOST])
    others = [row for row in table.rows if row is not base]
    lines = tag_differences_against(base.run, [row.run for row in others], [tag for tag in counts if tag in kept])
    found = {
        row.name: {(one.difference.facts.name, one.tag): one for one in line}
        for row, line in zip(others, lines, strict=True)
    }
    tables = {tag: count for tag, count in counts.items() if tag in kept}
    return Tags(tables, tuple(tag for tag in counts if tag not in kept), found)


def tags_section(table: Table, tags: Tags | None) -> Mapping[str, Any] | None:
    """What the page's section is filled with."""
    if tags is None:
        return None
    metrics = [facts for facts in table.metrics if facts.kind != "set"]
    blocks = [
        {"tag": tag, "prompts": count, "lines": _lines(table, tags, tag, metrics)} for tag, count in tags.tables.items()
    ]
    tests = sum(len(own) for own in tags.found.values())
    how = (
        f"Means over the prompts of a tag, and below them paired differences to {table.reference} with 95 % intervals. "
        f"▲ better, ▼ worse: {SURE}, here all {counted(tests, 'difference')} of all tags; △ ▽: {UNSURE}. "
        f"Fewer than {LEAST_PROMPTS} prompts have no full mark."
    )
    sets = [facts.title for facts in table.metrics if facts.kind == "set"]
    told = [f"{', '.join(sets)}: one value for the whole set, none per tag"] if sets else []
    if tags.left_out:
        told.append(
            f"{counted(len(tags.left_out), 'tag')} with fewer prompts without a table: {', '.join(tags.left_out)}"
        )
    return {"blocks": blocks, "metrics": metrics, "how": how, "told": told}


def _lines(table: Table, tags: Tags, tag: str, metrics: list[MetricFacts]) -> list[tuple[Any, list[TagCell | None]]]:
    rows: list[tuple[Any, list[TagCell | None]]] = []
    digits = {
        facts.name: decimals(
            one.difference.interval for own in tags.found.values() if (one := own.get((facts.name, tag)))
        )
        for facts in metrics
    }
    for row in table.rows:
        cells: list[TagCell | None] = []
        for facts in metrics:
            digit, own = digits[facts.name], tags.found.get(row.name)
            one = own.get((facts.name, tag)) if own else None
            if own is None:  # the reference: any other method has its mean
                one = next((line[facts.name, tag] for line in tags.found.values() if (facts.name, tag) in line), None)
                cells.append(None if one is None else TagCell(number(one.difference.a, digit), one.difference.a))
            elif one is None:
                cells.append(None)
            else:
                mark = DAGGER if row.in_reward(facts.name) else ""
                difference = difference_cell(one.difference, digit, mark)
                cells.append(TagCell(number(one.difference.b, digit), one.difference.b, difference))
        rows.append((row, cells))
    return rows


def tags_csv(table: Table, tags: Tags | None) -> str:
    """tags.csv: one row per tag, metric and method; "" without tags."""
    if tags is None:
        return ""
    return records_csv(
        [
            {"tag": one.tag, "prompts": one.prompts, "method": name, "reference": table.reference}
            | {key: value for key, value in difference_row(one.difference).items() if not key.startswith("win_")}
            for name, own in tags.found.items()
            for one in own.values()
        ]
    )
