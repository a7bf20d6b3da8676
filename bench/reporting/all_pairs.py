"""All pairs of methods in print: per metric the methods with rank and letters, and the matrix of differences.

A cell is the mean of its row minus that of its column. Rows are ordered best mean first and each pair stands once,
above the diagonal. Names and notes are untrusted: one line each in text, escaped in Markdown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.allpairs import AllPairs
from bench.analysis.differences import LEAST_PROMPTS, SURE, UNSURE
from bench.analysis.several import Several, pair_records, rank_rows
from bench.formatting import counted, escape_markdown, markdown_table, one_line
from bench.reporting.cells import DAGGER, MISSING, CellText, decimals, difference_cell, number, range_text
from bench.reporting.records import records_csv

WIDTH = 80
_NAME = 30  # characters of a name in text; longer ones are cut, as the head has them in full
_LEAST_CELL = 14
_GAP = "  "
_NO_INTERVAL = "no interval"  # why is said in the notes


@dataclass(frozen=True, slots=True)
class PairRow:
    """One method in one metric; `cells` are its differences to the methods behind it, None up to the diagonal."""

    name: str
    mean: CellText
    rank: str
    letters: str
    maybe_best: bool
    cells: tuple[CellText | None, ...]


def pair_rows(one: AllPairs, trained: Mapping[str, bool]) -> list[PairRow]:
    """The methods of a metric, best mean first; `trained`: of each, whether it was trained on the metric."""
    digits, steps = decimals(one.means), decimals(d.interval for d in one.differences.values())
    best, count = set(one.maybe_best), len(one.methods)
    rows = []
    for i, name in enumerate(one.methods):
        cells = tuple(difference_cell(one.differences[i, j], steps) if j > i else None for j in range(count))
        mean = one.means[i]
        cell = CellText(number(mean.mean, digits), range_text(mean, digits), DAGGER if trained.get(name) else "")
        low, high = one.ranks[i]
        rank = str(low) if low == high else f"{low}-{high}"
        rows.append(PairRow(name, cell, rank, one.letters[i], name in best, cells))
    return rows


def legend(metrics: Sequence[AllPairs], over: str = "") -> list[str]:
    """What the marks, ranks and letters mean, and the family that the correction covers."""
    tests = metrics[0].tests if metrics else 0
    lines = [
        f"Row minus column{over}, best mean first. ▲ row better, ▼ worse: {SURE}; △ ▽: {UNSURE}.",
        f"The table: {counted(tests, 'difference')}, all pairs in all metrics below; the runs that are named, and "
        "--metrics of bench compare, set the family.",
        "rank: the best and the worst rank that a method may have; methods with a letter in common cannot be told "
        "apart; *: may be the best, as no other is surely better. All of it holds together with 95 %.",
    ]
    if tests and not any(d.interval.clusters >= LEAST_PROMPTS for one in metrics for d in one.differences.values()):
        lines.append(f"No full mark is possible here: it needs {LEAST_PROMPTS} prompts with values on both sides.")
    return lines


def trained_on(found: Several, metric: str) -> dict[str, bool]:
    """Name -> whether the method was trained on this metric."""
    return {name: (name, metric) in found.trained for name in found.names}


# --- plain text ----------------------------------------------------------------------------------------------------


def several_text(found: Several) -> str:
    """For a terminal: no line of tables is longer than 80 characters, however many methods there are."""
    numbers = {name: str(number) for number, name in enumerate(found.names, 1)}
    wide = len(str(len(numbers)))
    counts = found.checkpoints or (0,) * len(numbers)
    head = [
        _wrapped(
            f"{numbers[name]:>{wide}} {one_line(name)}" + (f" ({counted(count, 'checkpoint')})" if count else ""), "   "
        )
        for name, count in zip(found.names, counts, strict=True)
    ]
    parts = ["\n".join(head) + "\n"]
    parts += [_metric_text(one, numbers, trained_on(found, one.facts.name)) for one in found.metrics]
    marks = f"{DAGGER} trained on this metric" if found.trained else ""
    told = [*legend(found.metrics, over_what(found)), *([marks] if marks else [])]
    parts.append("\n".join(map(_wrapped, told)) + "\n")
    notes = "".join(_wrapped(f"note: {one_line(note)}", "  ") + "\n" for note in found.notes)
    return "\n".join(part for part in (*parts, notes) if part)


def over_what(found: Several) -> str:
    """What a method's mean is over, where that is not only prompts."""
    return ", over all checkpoints of a method and prompts" if found.checkpoints else ""


def _wrapped(text: str, indent: str = "") -> str:
    joined = text.replace(" %", "\N{NO-BREAK SPACE}%")  # no line begins with a percent sign
    return textwrap.fill(joined, WIDTH, subsequent_indent=indent, break_on_hyphens=False).replace(
        "\N{NO-BREAK SPACE}%", " %"
    )


def _metric_text(one: AllPairs, numbers: Mapping[str, str], trained: Mapping[str, bool]) -> str:
    rows = pair_rows(one, trained)
    lines = [
        ["", row.mean.value + row.mean.mark, row.mean.interval, row.rank, row.letters, "*" if row.maybe_best else ""]
        for row in rows
    ]
    lines = [["", "mean", "95 % interval", "rank", "letters", ""], *lines]
    cells = [text for row in rows for cell in row.cells for text in _cell(cell)]
    taken = max([*map(len, _columns(lines)), len(_GAP) + max([_LEAST_CELL, *map(len, cells)])])
    wide = max(map(len, numbers.values()))
    labels = [f"{numbers[row.name]:>{wide}} {_cut(row.name, WIDTH - taken - wide - 1)}" for row in rows]
    title = _wrapped(f"{one.facts.display} {one.facts.arrow}", "  ")
    table = _columns([lines[0], *([label, *line[1:]] for label, line in zip(labels, lines[1:], strict=True))])
    blocks = [_block(rows, labels, columns) for columns in _fitting(rows, labels)]
    return "\n".join([title, *table, *(line for block in blocks for line in ["", *block])]) + "\n"


def _cut(name: str, room: int) -> str:
    name, most = one_line(name), max(4, min(_NAME, room))
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _cell(cell: CellText | None) -> tuple[str, str]:
    """The two lines of a cell."""
    if cell is None:
        return "", ""
    return f"{cell.value} {cell.sign}".rstrip(), cell.interval or _NO_INTERVAL


def _fitting(rows: Sequence[PairRow], labels: Sequence[str]) -> list[list[int]]:
    """Columns of the matrix in blocks that fit into a line; the first method is in no column."""
    blocks: list[list[int]] = []
    room, left = WIDTH - max(map(len, labels), default=0), 0
    for j in range(1, len(rows)):
        width = len(_GAP) + max(len(text) for text in [_head(rows, labels, j), *_texts(rows, j)])
        if not blocks or width > left:
            blocks.append([])
            left = room
        blocks[-1].append(j)
        left -= width
    return blocks


def _texts(rows: Sequence[PairRow], j: int) -> list[str]:
    return [text for row in rows for text in _cell(row.cells[j])]


def _head(rows: Sequence[PairRow], labels: Sequence[str], j: int) -> str:
    """The number of a column's method with as much of the name as a cell is wide."""
    room = max(_LEAST_CELL, *map(len, _texts(rows, j)))
    text = f"- {labels[j].strip()}"
    return text if len(text) <= room else f"{text[: room - 2]}.."


def _block(rows: Sequence[PairRow], labels: Sequence[str], columns: Sequence[int]) -> list[str]:
    """Two lines a method, the difference and under it its interval; methods without a cell here are left out."""
    lines = [["", *(_head(rows, labels, j) for j in columns)]]
    for row, label in zip(rows, labels, strict=True):
        cells = [_cell(row.cells[j]) for j in columns]
        if any(value for value, _ in cells):
            lines += [[label, *(value for value, _ in cells)], ["", *(limits for _, limits in cells)]]
    return _columns(lines)


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        _GAP.join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


# --- Markdown and CSV ----------------------------------------------------------------------------------------------


def several_markdown(found: Several) -> str:
    """What `bench compare A B C --markdown` prints."""
    lines = ["# All pairs", "", *pairs_markdown(found)]
    if found.notes:
        lines += ["", "## Notes", "", *(f"- {escape_markdown(note)}" for note in found.notes)]
    return "\n".join(lines) + "\n"


def pairs_markdown(found: Several) -> list[str]:
    """The legend, and a table per metric under a heading of the second level but one."""
    lines = [" ".join(map(_escaped_legend, legend(found.metrics, over_what(found))))]
    if found.checkpoints:
        each = (f"{escape_markdown(n)} {c}" for n, c in zip(found.names, found.checkpoints, strict=True))
        lines += ["", f"Checkpoints: {', '.join(each)}."]
    if found.trained:
        lines += ["", f"{DAGGER} the method was trained on this metric."]
    for one in found.metrics:
        rows = pair_rows(one, trained_on(found, one.facts.name))
        head = ["method", "mean", "rank", "letters", *(f"− {row.name}" for row in rows[1:])]
        body = [
            [
                escape_markdown(f"{row.name} *" if row.maybe_best else row.name),
                " ".join(part for part in (row.mean.value + row.mean.mark, row.mean.interval) if part),
                row.rank,
                row.letters,
                *map(_markdown_cell, row.cells[1:]),
            ]
            for row in rows
        ]
        lines += ["", f"### {escape_markdown(one.facts.display)} {one.facts.arrow}", ""]
        lines += markdown_table([*map(escape_markdown, head)], body, right=range(1, len(head)))
    return lines


def _escaped_legend(line: str) -> str:
    return line.replace("*:", "\\*:")


def _markdown_cell(cell: CellText | None) -> str:
    if cell is None:
        return ""
    value = f"**{cell.value}**" if cell.strong else cell.value
    suffix = f"({cell.suffix})" if cell.suffix else ""
    return " ".join(part for part in (value, cell.interval, cell.sign, suffix) if part) or MISSING


def pairs_csv(metrics: Sequence[AllPairs]) -> str:
    """pairs.csv: one row per metric and pair, method_b minus method_a, where b has the better mean."""
    return records_csv([row for one in metrics for row in pair_records(one)])


def ranks_csv(metrics: Sequence[AllPairs]) -> str:
    """ranks.csv: one row per metric and method, best mean first."""
    return records_csv([row for one in metrics for row in rank_rows(one)])


def pairs_section(found: Several | None) -> Mapping[str, Any] | None:
    """What the page's section is filled with."""
    if found is None:
        return None
    blocks = [
        {"title": f"{one.facts.display} {one.facts.arrow}", "rows": pair_rows(one, trained_on(found, one.facts.name))}
        for one in found.metrics
    ]
    return {"blocks": blocks, "legend": legend(found.metrics, over_what(found)), "notes": _own_notes(found)}


def _own_notes(found: Several) -> list[str]:
    """Those that are about pairs; the others stand at the end of the page."""
    titles = tuple(f"{one.facts.display}: " for one in found.metrics)
    return [note for note in found.notes if note.startswith(titles)]
