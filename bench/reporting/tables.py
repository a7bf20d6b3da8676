"""Tables as Markdown, CSV and plain text. Names are untrusted and escaped."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Sequence

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.in_reward import dagger_line
from bench.analysis.stats import Interval
from bench.analysis.table.rows import Table
from bench.formatting import csv_text, escape_markdown, markdown_table
from bench.reporting.cells import BEST, CellText, difference_cells, header, mean_cells
from bench.reporting.findings import Findings, markdown_parts
from bench.reporting.headline import headline_markdown
from bench.reporting.seeds import seeds_text
from metrics.types import Direction


def _markdown_cell(cell: CellText) -> str:
    value = f"**{cell.value}**" if cell.strong else cell.value
    suffix = f"({cell.suffix})" if cell.suffix else ""
    return " ".join(part for part in (value + cell.mark, cell.interval, cell.sign, suffix) if part)


def _markdown_grid(head: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[CellText]]) -> list[str]:
    rows = [[escape_markdown(name), *map(_markdown_cell, row)] for name, row in zip(names, cells, strict=True)]
    return markdown_table([*map(escape_markdown, head)], rows, right=range(1, len(head)))


def markdown(table: Table, findings: Findings | None = None) -> str:
    """table.md: means with intervals, paired differences against the reference, what else was found, notes."""
    head = ["method", *(header(facts, table) for facts in table.metrics)]
    lines = [f"# {escape_markdown(table.title)}", "", f"{table.protocol.replace(' x ', ' × ')}.", ""]
    lines += [*headline_markdown(table, findings), ""]
    lines += _markdown_grid(head, [row.name for row in table.rows], mean_cells(table))
    legend = [BEST] if table.best else []
    legend += [f"{dagger_line()}."] if table.trained_metrics else []
    if legend:
        lines += ["", " ".join(legend)]
    if table.differences:
        names, cells = difference_cells(table)
        lines += ["", f"## Paired differences against {escape_markdown(table.reference or '')}", ""]
        lines += [f"Bold with ▲ better or ▼ worse: {SURE}. △ better or ▽ worse: {UNSURE}.", ""]
        lines += _markdown_grid(head, names, cells)
    for part in markdown_parts(table, findings):
        lines += ["", *part]
    if table.notes:
        lines += ["", "## Notes", "", *(f"- {escape_markdown(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


# --- CSV -----------------------------------------------------------------------------------------------------------


def _digits(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _written(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def means_csv(table: Table) -> str:
    """table.csv: one row per method; per metric its mean, interval, n and unscored count, unrounded for print."""
    parts = ("", "_low", "_high", "_n", "_unscored")
    head = ["method", "run", "trained_on"] + [facts.name + part for facts in table.metrics for part in parts]
    rows = []
    for row in table.rows:
        line = [*map(csv_text, (row.name, row.run.name, " ".join(row.run.trained_on)))]
        for facts in table.metrics:
            one = row.cells.get(facts.name)
            texts = [""] * 5 if one is None else [*map(_digits, (one.mean, one.low, one.high)), one.n, one.n_unscored]
            line += [str(text) for text in texts]
        rows.append(line)
    return _written(head, rows)


def differences_csv(table: Table) -> str:
    """differences.csv: one row per method and metric."""
    head = ["method", "reference", "metric", "difference", "ci_low", "ci_high", "p", "p_holm"]
    head += ["win_rate", "win_low", "win_high", "detects", "n", "n_unscored", "better", "sure", "reason"]
    rows = []
    for name, differences in table.differences.items():
        for difference in differences:
            i = difference.interval
            better = {"": "", "a": "no", "b": "yes"}[difference.better]
            win = difference.win_interval or Interval(math.nan, math.nan, math.nan, 0)
            values = (
                i.mean,
                i.low,
                i.high,
                difference.paired.p,
                difference.p_holm,
                win.mean,
                win.low,
                win.high,
                difference.detects,
            )
            counts = [str(i.n), str(i.n_unscored), better, "yes" if difference.sure else ""]
            reason = csv_text(i.reason or difference.undecided or "")
            names = map(csv_text, (name, table.reference or "", difference.facts.name))
            rows.append([*names, *map(_digits, values), *counts, reason])
    return _written(head, rows)


def scores_csv(table: Table) -> str:
    """scores.csv: every value of every run, in the columns of `bench.load_results`; NaN is empty, with its reason.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    import pandas as pd

    rows = pd.concat([row.run.tidy() for row in table.rows], ignore_index=True)
    for column in rows.select_dtypes(exclude="number"):
        safe = {text: csv_text(text) for text in rows[column].dropna().unique()}  # each text once: few are distinct
        if any(text != cell for text, cell in safe.items()):
            rows[column] = rows[column].map(safe, na_action="ignore")
    return str(rows.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


# --- plain text ----------------------------------------------------------------------------------------------------


WIDTH = 80


def text(table: Table, width: int = WIDTH) -> str:
    """The first table for a terminal: a method a line, as many metrics side by side as `width` holds, then the next.

    Names and numbers are never broken: where a name leaves no room beside it, its values stand below it.
    """
    names = ["method", *(row.name for row in table.rows)]
    cells = mean_cells(table)
    columns = [
        _column(header(facts, table), [_plain(line[j]) for line in cells]) for j, facts in enumerate(table.metrics)
    ]
    beside = max(map(len, names)) <= width // 2
    left = max(map(len, names)) if beside else 2
    blocks = [_block(group, names, left, beside) for group in _groups(columns, width - left)]
    trained = f"{dagger_line()}. " if table.trained_metrics else ""
    said = textwrap.wrap(f"{trained}{table.protocol}.", width, break_long_words=False, break_on_hyphens=False)
    seeds = seeds_text(table)
    return "\n\n".join(blocks) + "\n" + "\n".join(said) + "\n" + (f"\n{seeds}" if seeds else "")


_Column = tuple[list[str], list[str]]
"""The lines of a head, and a cell for each method; all of one width."""


def _column(head: str, cells: Sequence[str]) -> _Column:
    for arrow in (one.arrow for one in Direction):
        head = head.replace(f" {arrow}", f"\N{NO-BREAK SPACE}{arrow}")  # an arrow stays beside the word before it
    widest = max(map(len, (*cells, *head.split(" "))))
    lines = textwrap.wrap(head, widest, break_long_words=False, break_on_hyphens=False) or [""]
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
    widest = max(map(len, (*lines, *cells)))
    return [line.rjust(widest) for line in lines], [cell.rjust(widest) for cell in cells]


def _groups(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Neighbouring columns that fit side by side, two spaces before each; at least one."""
    groups: list[list[_Column]] = []
    room = 0
    for column in columns:
        needed = 2 + len(column[0][0])
        if not groups or needed > room:
            groups.append([])
            room = width
        groups[-1].append(column)
        room -= needed
    return groups or [[]]


def _block(columns: Sequence[_Column], names: Sequence[str], left: int, beside: bool) -> str:
    height = max((len(head) for head, _ in columns), default=1)
    heads = [[*[" " * len(head[0])] * (height - len(head)), *head] for head, _ in columns]
    lines = []
    for k in range(height):
        label = names[0] if k == height - 1 else ""
        lines.append("  ".join([label.ljust(left) if beside else " " * left, *(head[k] for head in heads)]).rstrip())
    for i, name in enumerate(names[1:]):
        if not beside:
            lines.append(name)
        lines.append(
            "  ".join([name.ljust(left) if beside else " " * left, *(cells[i] for _, cells in columns)]).rstrip()
        )
    return "\n".join(lines)


def _plain(cell: CellText) -> str:
    suffix = f"({cell.suffix})" if cell.suffix else ""
    return " ".join(part for part in (cell.value + cell.mark, cell.interval, cell.sign, suffix) if part)
