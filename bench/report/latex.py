"""Tables as LaTeX with booktabs. Names are untrusted and escaped."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.cells import BEST, DAGGER, MINUS, CellText, difference_cells, header, mean_cells
from bench.report.model import Table

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", DAGGER: r"$^{\dagger}$", MINUS: "$-$", "×": r"$\times$",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}",  # a bracket after a line break would be read as its argument
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Untrusted text as literal LaTeX text; the arrows, the dagger and the minus sign become mathematics."""
    return "".join(_TEX.get(char, char) for char in " ".join(text.split()))


def _tex_head(text: str) -> str:
    """A column head on two lines where it has a label, so that columns stay narrow."""
    first, bracket, rest = text.partition(" (")
    if not bracket:
        return escape_latex(text)
    return rf"\shortstack{{{escape_latex(first)}\\{escape_latex(bracket.strip() + rest)}}}"


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
    return (rf"\textbf{{{value}}}" if cell.strong else value) + escape_latex(cell.mark) + suffix


def latex(table: Table) -> str:
    """table.tex: two `table` environments; needs only \\usepackage{booktabs}. Intervals stand below their means."""
    head = ["method", *(header(facts, table) for facts in table.metrics)]
    trained = f" {DAGGER} Trained on this metric." if table.trained_metrics else ""
    bold = f" {BEST}" if table.best else ""
    caption = f"{table.title}: {table.protocol.replace(' x ', ' × ')}.{bold}{trained}"
    lines = ["% needs \\usepackage{booktabs}"]
    lines += _tex_float(caption, f"tab:{_tex_key(table.suite)}", head, [r.name for r in table.rows], mean_cells(table))
    if table.differences:
        names, cells = difference_cells(table)
        caption = f"{table.title}: paired differences against {table.reference}. Bold: the interval excludes zero."
        lines += ["", *_tex_float(caption, f"tab:{_tex_key(table.suite)}-differences", head, names, cells)]
    return "\n".join(lines) + "\n"


def _tex_key(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text)


def _tex_float(
    caption: str, key: str, head: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[CellText]]
) -> list[str]:
    top = [r"\begin{table*}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"]
    top += [rf"\caption{{{escape_latex(caption)}}}", rf"\label{{{key}}}"]
    return [*top, *_tex_grid(head, names, cells), r"\end{table*}"]
