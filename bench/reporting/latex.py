"""Tables as LaTeX with booktabs. Names are untrusted and escaped."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.in_reward import dagger_line
from bench.analysis.table.rows import Table
from bench.reporting.cells import BEST, DAGGER, MINUS, CellText, difference_cells, header, mean_cells

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", DAGGER: r"$^{\dagger}$", MINUS: "$-$", "×": r"$\times$",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}",  # a bracket after a line break would be read as its argument
}  # fmt: skip


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


def _tex_grids(head: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[CellText]]) -> list[str]:
    lines: list[str] = []
    for part in _parts(len(head) - 1):
        lines += [r"", r"\medskip"] if lines else []
        chosen = [[row[j] for j in part] for row in cells]
        lines += _tex_grid([head[0], *(head[j + 1] for j in part)], names, chosen)
    return lines


def _tex_grid(head: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[CellText]]) -> list[str]:
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines.append(" & ".join(map(_tex_head, head)) + r" \\")
    lines.append(r"\midrule")
    for name, row in zip(names, cells, strict=True):
        values = [_tex_value(cell) for cell in row]
        lines.append(" & ".join([escape_latex(name), *values]) + r" \\")
        ranges = [rf"{{\tiny {escape_latex(cell.interval)}}}" if cell.interval else "" for cell in row]
        lines.append(" & ".join(["", *ranges]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _tex_value(cell: CellText) -> str:
    value = escape_latex(cell.value)
    suffix = rf" {{\tiny ({escape_latex(cell.suffix)})}}" if cell.suffix else ""
    weight = r"\textbf" if cell.strong else r"\textit" if cell.tone else ""
    return (rf"{weight}{{{value}}}" if weight else value) + escape_latex(cell.mark) + suffix


def latex(table: Table) -> str:
    """table.tex: two `table` environments; needs only \\usepackage{booktabs}. Intervals stand below their means.

    More than five metrics stand in several tabulars below one another, which fit the width of a page.
    """
    head = ["method", *(header(facts, table) for facts in table.metrics)]
    trained = f" {dagger_line()}." if table.trained_metrics else ""
    bold = f" {BEST}" if table.best else ""
    caption = f"{table.title}: {table.protocol.replace(' x ', ' × ')}.{bold}{trained}"
    lines = ["% needs \\usepackage{booktabs}"]
    lines += _tex_float(caption, f"tab:{_tex_key(table.suite)}", head, [r.name for r in table.rows], mean_cells(table))
    if table.differences:
        names, cells = difference_cells(table)
        caption = f"{table.title}: paired differences against {table.reference}. Bold: {SURE}. Italic: {UNSURE}."
        lines += ["", *_tex_float(caption, f"tab:{_tex_key(table.suite)}-differences", head, names, cells)]
    if any(ord(char) > _LAST_LATIN for line in lines for char in line):
        lines.insert(1, "% names in it have characters for XeLaTeX or LuaLaTeX, with a font that has them")
    return "\n".join(lines) + "\n"


def _tex_key(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text)


def _tex_float(
    caption: str, key: str, head: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[CellText]]
) -> list[str]:
    top = [r"\begin{table*}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"]
    top += [rf"\caption{{{escape_latex(caption)}}}", rf"\label{{{key}}}"]
    return [*top, *_tex_grids(head, names, cells), r"\end{table*}"]
