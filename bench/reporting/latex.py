"""Tables as LaTeX with booktabs. Names are untrusted and escaped."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.in_reward import dagger_line
from bench.analysis.table.rows import Table
from bench.reporting.cells import BEST, DAGGER, MINUS, CellText, common_label, difference_cells, header, mean_cells
from bench.reporting.seeds import OVER_SEEDS, of_checkpoints, seed_cells, seed_differences

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", DAGGER: r"$^{\dagger}$", MINUS: "$-$", "×": r"$\times$",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}",  # a bracket after a line break would be read as its argument
}  # fmt: skip


LONG = 15  # methods from which on a table breaks over pages
_COLUMNS = 5  # in one tabular
_HEAD_WIDTH = 14  # characters
_LAST_LATIN = 0x17F  # pdfLaTeX reads Latin letters as they are


def escape_latex(text: str) -> str:
    """Untrusted text as literal LaTeX text; the arrows, the dagger and the minus sign become mathematics.

    Control and format characters (direction of writing, joiners) go: they would print nothing and may stop LaTeX.
    """
    kept = (char for char in " ".join(text.split()) if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return "".join(_TEX.get(char, char) for char in kept)


def _tex_head(text: str) -> str:
    """A column head with a line per word or two, so that columns are no wider than their intervals."""
    lines = textwrap.wrap(text, _HEAD_WIDTH, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return escape_latex(text)
    return "\\shortstack{" + "\\\\".join(map(escape_latex, lines)) + "}"


def _parts(columns: int) -> list[range]:
    """Columns in even parts of at most `_COLUMNS`, which stand below one another: a page is only so wide."""
    count = -(-columns // _COLUMNS) or 1
    return [range(columns * i // count, columns * (i + 1) // count) for i in range(count)]


@dataclass(frozen=True)
class _Grid:
    """A table: its caption and label, its head with the methods' column first, and lines of (name, cells)."""

    caption: str
    key: str
    head: Sequence[str]
    names: Sequence[str]
    cells: Sequence[Sequence[CellText]]

    def parts(self) -> list[tuple[list[str], list[list[CellText]]]]:
        """The head and the cells of parts that fit the width of a page."""
        return [
            ([self.head[0], *(self.head[j + 1] for j in part)], [[row[j] for j in part] for row in self.cells])
            for part in _parts(len(self.head) - 1)
        ]


def _tex_lines(names: Sequence[str], cells: Sequence[Sequence[CellText]]) -> list[str]:
    """Two lines a method, which no page break parts: values, and below them their intervals."""
    lines = []
    for name, row in zip(names, cells, strict=True):
        lines.append(" & ".join([escape_latex(name), *map(_tex_value, row)]) + r" \\*")
        ranges = [rf"{{\tiny {escape_latex(cell.interval)}}}" if cell.interval else "" for cell in row]
        lines.append(" & ".join(["", *ranges]) + r" \\")
    return lines


def _columns_of(head: Sequence[str]) -> str:
    return f"l{'r' * (len(head) - 1)}"


def _tex_float(grid: _Grid) -> list[str]:
    """One `table*`, its parts below one another."""
    lines = [r"\begin{table*}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"]
    lines += [rf"\caption{{{escape_latex(grid.caption)}}}", rf"\label{{{grid.key}}}"]
    for number, (head, cells) in enumerate(grid.parts()):
        lines += [r"", r"\medskip"] if number else []
        lines += [rf"\begin{{tabular}}{{{_columns_of(head)}}}", r"\toprule", " & ".join(map(_tex_head, head)) + r" \\"]
        lines += [r"\midrule", *_tex_lines(grid.names, cells), r"\bottomrule", r"\end{tabular}"]
    return [*lines, r"\end{table*}"]


def _tex_long(grid: _Grid) -> list[str]:
    """A longtable per part, which breaks over pages and repeats its head; the first has the caption."""
    lines = [r"{\scriptsize", r"\setlength{\tabcolsep}{3pt}", r"\setlength{\LTcapwidth}{\textwidth}"]
    for number, (head, cells) in enumerate(grid.parts()):
        title = " & ".join(map(_tex_head, head)) + r" \\"
        lines.append(rf"\begin{{longtable}}{{{_columns_of(head)}}}")
        if number == 0:
            lines += [rf"\caption{{{escape_latex(grid.caption)}}}\label{{{grid.key}}}\\"]
        lines += [r"\toprule", title, r"\midrule", r"\endfirsthead", r"\toprule", title, r"\midrule", r"\endhead"]
        lines += [r"\bottomrule", r"\endfoot", *_tex_lines(grid.names, cells), r"\end{longtable}"]
    return [*lines, "}"]


def _tex_value(cell: CellText) -> str:
    value = escape_latex(cell.value)
    suffix = rf" {{\tiny ({escape_latex(cell.suffix)})}}" if cell.suffix else ""
    weight = r"\textbf" if cell.strong else r"\textit" if cell.tone else ""
    return (rf"{weight}{{{value}}}" if weight else value) + escape_latex(cell.mark) + suffix


def latex(table: Table) -> str:
    """table.tex: a table of means, one of differences, and of training seeds where there are several.

    Intervals stand below their means. More than five metrics stand in several tabulars below one another, which fit the
    width of a page; from `LONG` methods on they are longtables, which break over pages. A label that all metrics have
    stands once, in the captions.
    """
    grids = [*_grids(table), *_seed_grids(table)]
    long = any(len(grid.names) >= LONG for grid in grids)
    lines = ["% needs \\usepackage{booktabs}" + (" and \\usepackage{longtable}, in one column" if long else "")]
    for number, grid in enumerate(grids):
        lines += [""] * bool(number)
        lines += _tex_long(grid) if len(grid.names) >= LONG else _tex_float(grid)
    if any(ord(char) > _LAST_LATIN for line in lines for char in line):
        lines.insert(1, "% names in it have characters for XeLaTeX or LuaLaTeX, with a font that has them")
    return "\n".join(lines) + "\n"


def _head(table: Table) -> list[str]:
    """Heads without the label that all metrics have, which the captions say."""
    return ["method", *(header(facts, table, label=not common_label(table)) for facts in table.metrics)]


def _grids(table: Table) -> list[_Grid]:
    trained = f" {dagger_line()}." if table.trained_metrics else ""
    bold = f" {BEST}" if table.best else ""
    caption = f"{table.title}{table.label}: {table.protocol.replace(' x ', ' × ')}.{bold}{trained}"
    key = f"tab:{_tex_key(table.suite)}"
    found = [_Grid(caption, key, _head(table), [row.name for row in table.rows], mean_cells(table))]
    if table.differences:
        names, cells = difference_cells(table)
        caption = (
            f"{table.title}{table.label}: paired differences against {table.reference}. Bold: {SURE}. Italic: {UNSURE}."
        )
        found.append(_Grid(caption, f"{key}-differences", _head(table), names, cells))
    return found


def _seed_grids(table: Table) -> list[_Grid]:
    """Methods over their training seeds: means with, and differences as tests of, the METHOD."""
    if not table.methods:
        return []
    rows, key = seed_cells(table), f"tab:{_tex_key(table.suite)}-seeds"
    names = [f"{row.name} ({of_checkpoints(row)})" for row, _ in rows]
    caption = f"{table.title}{table.label}: over training seeds. {OVER_SEEDS}"
    found = [_Grid(caption, key, _head(table), names, [[one.cell for one in cells] for _, cells in rows])]
    tests = seed_differences(table)
    if tests:
        marks = f"Bold: {SURE}. Italic: {UNSURE}."
        caption = f"{table.title}{table.label}: differences of methods against {table.reference}. {marks}"
        told = [row.name for row, _ in tests]
        found.append(_Grid(caption, f"{key}-differences", _head(table), told, [cells for _, cells in tests]))
    return found


def _tex_key(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text)
