"""Methods over training seeds in print: the interval of the METHOD, and beside it that of one checkpoint.

A table has them where any of its methods has several checkpoints (`Table.methods`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.in_reward import in_reward
from bench.analysis.table.rows import MethodRow, Table
from bench.formatting import aligned, counted, escape_markdown, markdown_table
from bench.reporting.cells import DAGGER, MISSING, CellText, decimals, difference_cell, header, number, range_text

OVER_SEEDS = (
    "Means over all checkpoints of a method (training seeds) and all prompts, with the 95 % interval of the METHOD."
)
HOW = (
    f"{OVER_SEEDS[:-1]}; "
    "beside it the first checkpoint alone, whose interval is over prompts only and says nothing of another training "
    "seed."
)


@dataclass(frozen=True, slots=True)
class SeedCell:
    """A mean over checkpoints, and the first checkpoint alone with its limits ("" of a method with one)."""

    cell: CellText
    alone: str = ""
    limits: str = ""

    @property
    def first(self) -> str:
        """The first checkpoint alone on one line."""
        return " ".join(part for part in (self.alone, self.limits) if part)


def of_checkpoints(row: MethodRow) -> str:
    """ "3 checkpoints", "1 checkpoint", or "not trained"."""
    return counted(len(row.group.runs), "checkpoint") if row.group.trained else "not trained"


def seed_cells(table: Table) -> list[tuple[MethodRow, list[SeedCell]]]:
    """Per method its cells, one a metric of the table."""
    digits = {
        f.name: decimals(row.cells[f.name] for row in table.methods if f.name in row.cells) for f in table.metrics
    }
    return [(row, [_cell(table, row, f.name, digits[f.name]) for f in table.metrics]) for row in table.methods]


def _cell(table: Table, row: MethodRow, metric: str, digits: int) -> SeedCell:
    found = row.cells.get(metric)
    if found is None:
        return SeedCell(CellText(MISSING))
    first = row.group.runs[0]
    mark = DAGGER if in_reward(first.trained_on, metric) else ""
    lost = f"{counted(found.n_unscored, 'prompt')} left out" if found.n_unscored else ""
    cell = CellText(number(found.mean, digits), range_text(found, digits), mark, lost)
    single = next((one.cells.get(metric) for one in table.rows if one.run is first), None)
    if single is None or not row.group.several:
        return SeedCell(cell)
    return SeedCell(cell, number(single.mean, digits), range_text(single, digits))


def seed_differences(table: Table) -> list[tuple[MethodRow, list[CellText]]]:
    """Per method but the reference its differences against it; [] where there is no reference."""
    rows = [row for row in table.methods if row.differences]
    by_row = [{one.facts.name: one for one in row.differences} for row in rows]
    digits = {f.name: decimals(own[f.name].interval for own in by_row if f.name in own) for f in table.metrics}
    return [
        (row, [difference_cell(own.get(f.name), digits[f.name]) for f in table.metrics])
        for row, own in zip(rows, by_row, strict=True)
    ]


def seed_notes(table: Table) -> list[str]:
    """Which methods have one checkpoint, and the family of tests."""
    alone = [row.name for row in table.methods if row.group.trained and not row.group.several]
    notes = [f"one checkpoint of {', '.join(alone)}: nothing is said of training again"] if alone else []
    tests = sum(math.isfinite(one.p_holm) for row in table.methods for one in row.differences)
    if tests:
        notes.append(f"Holm's correction covers {counted(tests, 'difference')} of methods against {table.reference}")
    reasons: dict[str, list[str]] = {}
    for row in table.methods:
        for one in row.differences:
            if math.isnan(one.p_mark) and one.interval.reason:
                reasons.setdefault(f"{one.facts.display}: {one.interval.reason}", []).append(row.name)
    return [*notes, *(f"{reason} ({', '.join(names)} against {table.reference})" for reason, names in reasons.items())]


def seeds_section(table: Table) -> Mapping[str, Any] | None:
    """What the page's section is filled with."""
    if not table.methods:
        return None
    return {
        "seeds": [(row, of_checkpoints(row), cells) for row, cells in seed_cells(table)],
        "seed_differences": seed_differences(table),
        "how": HOW,
        "told": seed_notes(table),
    }


def seeds_text(table: Table) -> str:
    """Under the table of runs in a terminal: a metric a line, and under it the first checkpoint alone."""
    if not table.methods:
        return ""
    rows = seed_cells(table)
    head = ["over training seeds", *(f"{row.name} ({of_checkpoints(row)})" for row, _ in rows)]
    lines = []
    for j, facts in enumerate(table.metrics):
        lines.append([header(facts, table), *(_plain(cells[j].cell) for _, cells in rows)])
        if any(cells[j].alone for _, cells in rows):
            lines.append(["  first checkpoint", *(cells[j].first for _, cells in rows)])
    return aligned(head, lines) + HOW + "\n"


def _plain(cell: CellText) -> str:
    suffix = f"({cell.suffix})" if cell.suffix else ""
    return " ".join(part for part in (cell.value + cell.mark, cell.interval, suffix) if part)


def seeds_markdown(table: Table) -> list[str]:
    """Lines of table.md; [] where no method has several checkpoints."""
    if not table.methods:
        return []
    head = ["method", "checkpoints", *(header(facts, table) for facts in table.metrics)]
    body = [
        [
            escape_markdown(row.name),
            of_checkpoints(row),
            *(" ".join([_plain(one.cell), *([f"(first: {one.first})"] if one.alone else [])]) for one in cells),
        ]
        for row, cells in seed_cells(table)
    ]
    lines = ["## Training seeds", "", HOW, ""]
    lines += markdown_table([*map(escape_markdown, head)], body, right=range(2, len(head)))
    differences = seed_differences(table)
    if differences:
        told = f"Differences of methods against {escape_markdown(table.reference or '')}."
        lines += ["", f"{told} Bold with ▲ better or ▼ worse: {SURE}. △ better or ▽ worse: {UNSURE}.", ""]
        cells = [
            [escape_markdown(row.name), *(" ".join([_strong(one), one.interval, one.sign]).strip() for one in line)]
            for row, line in differences
        ]
        heads = [head[0], *head[2:]]
        lines += markdown_table([*map(escape_markdown, heads)], cells, right=range(1, len(heads)))
    notes = seed_notes(table)
    return [*lines, *(["", *(f"- {escape_markdown(note)}" for note in notes)] if notes else [])]


def _strong(cell: CellText) -> str:
    return f"**{cell.value}**" if cell.strong else cell.value


def seed_records(table: Table) -> list[dict[str, Any]]:
    """Rows of methods.csv: one per method and metric."""
    found = []
    for row in table.methods:
        tests = {one.facts.name: one for one in row.differences}
        for metric, cell in row.cells.items():
            test = tests.get(metric)
            gap = test.interval if test else replace(cell, mean=math.nan, low=math.nan, high=math.nan)
            found.append(
                {
                    "method": row.name,
                    "checkpoints": len(row.group.runs) if row.group.trained else 0,
                    "metric": metric,
                    "mean": cell.mean,
                    "ci_low": cell.low,
                    "ci_high": cell.high,
                    "n": cell.n,
                    "n_unscored": cell.n_unscored,
                    "reason": cell.reason,
                    "difference": gap.mean,
                    "difference_low": gap.low,
                    "difference_high": gap.high,
                    "p": test.paired.p if test else math.nan,
                    "p_holm": test.p_holm if test else math.nan,
                    "better": {"": "", "a": "no", "b": "yes"}[test.better] if test else "",
                    "sure": bool(test and test.sure),
                }
            )
    return found
