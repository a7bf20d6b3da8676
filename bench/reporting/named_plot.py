"""The plots that a user names for a paper: one panel per pair of metrics, of a given width.

`bench report --plot x=lpips,y=hpsv2.1 --width 3.3in --values paired` writes plot.png, plot.svg and plot.pdf.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.analysis.stats import Interval
from bench.analysis.table.costs import cost
from bench.analysis.table.rows import Row, Table
from bench.errors import UsageError, unknown
from bench.reporting.equal_cost import COST_AXES, HOW_COUNTED, with_costs
from bench.reporting.plots import (
    axis_title,
    draw_panel,
    foot_height,
    how_to_read,
    limits,
    name_points,
    points_of,
    set_margins,
    write_above,
    write_below,
)
from bench.reporting.style import RC
from bench.store.runs import MetricFacts
from metrics.types import is_official

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("means", "paired")
COLUMN_WIDTH = 3.3  # inches: a column of a paper
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27, "": 1.0}
_NARROWEST, _WIDEST = 2.0, 20.0
_SHORT_NAME = 23  # characters beside a point of a narrow panel


@dataclass(frozen=True)
class PlotRequest:
    """What is asked for. `pairs`: (x, y) metrics, a panel each; `methods`: none for all; `values`: "" where not said.

    `width` is in inches; None: a column of a paper for one panel, the page for more.
    """

    pairs: tuple[tuple[str, str], ...]
    width: float | None = None
    title: bool = True
    values: str = ""
    methods: tuple[str, ...] = ()


def plot_request(
    plots: Sequence[str],
    width: str | float | None = None,
    title: bool = True,
    values: str | None = None,
    methods: Sequence[str] = (),
) -> PlotRequest | None:
    """The request of the options; None without a plot. UsageError where one cannot be read, or stands without a plot.

    >>> plot_request(["x=lpips,y=hpsv2.1"], width="84mm").pairs
    (('lpips', 'hpsv2.1'),)
    """
    if not plots:
        given = {"--width": width, "--no-title": not title, "--values": values, "--methods": methods}
        stray = [option for option, value in given.items() if value]
        if stray:
            raise UsageError(f"{' and '.join(stray)} shape a plot that is named: add --plot x=METRIC,y=METRIC")
        return None
    if values not in (None, *VALUES):
        raise unknown("kind of values", str(values), VALUES)
    named = tuple(name for text in methods for name in text.split(",") if name)
    return PlotRequest(tuple(map(_pair, plots)), _inches(width), title, values or "", named)


def _pair(text: str) -> tuple[str, str]:
    parts = [part.partition("=") for part in text.split(",")]
    found = {key.strip(): value.strip() for key, _, value in parts}
    if len(parts) != 2 or set(found) != {"x", "y"} or not all(found.values()):
        raise UsageError(f"--plot '{text}' must be x=METRIC,y=METRIC, such as x=lpips,y=hpsv2.1")
    return found["x"], found["y"]


def _inches(width: str | float | None) -> float | None:
    if width is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(in|cm|mm|pt|)", str(width).strip())
    if found is None:
        raise UsageError(f"--width '{width}' must be a length such as 3.3in, 84mm, 8.4cm or 240pt")
    inches = float(found[1]) * _UNITS[found[2]]
    if not _NARROWEST <= inches <= _WIDEST:
        raise UsageError(f"--width '{width}' must be between {_NARROWEST:g} and {_WIDEST:g} inches")
    return inches


def check_request(table: Table, request: PlotRequest) -> None:
    """UsageError for a metric or a method that the table does not have, or values that there are none of."""
    metrics, names = [facts.name for facts in table.metrics], [row.name for row in table.rows]
    for name in (name for pair in request.pairs for name in pair):
        if name not in (*metrics, *COST_AXES):
            raise unknown("metric", name, [*metrics, *COST_AXES])
        if name not in metrics and all(cost(row.run, name) is None for row in table.rows):
            raise UsageError(f"--plot: no run has its {name} on record: they are counted where images are made here")
    for name in request.methods:
        if not _rows_of(table, [name]):
            raise unknown("method", name, names)
    if request.values == "paired" and not table.differences:
        raise UsageError("--values paired needs a method to compare with, but the report has one method")


def _rows_of(table: Table, methods: Sequence[str]) -> list[Row]:
    """The rows of these methods, with all their settings; all of the table where none is named."""
    return [row for row in table.rows if not methods or {row.name, row.run.method, row.family} & set(methods)]


def is_paired(table: Table, request: PlotRequest) -> bool:
    """Whether differences are drawn: as said, else as the page begins, where the noise is known to be shared."""
    return request.values == "paired" or (not request.values and bool(table.differences) and table.same_noise)


def drawn_table(table: Table, request: PlotRequest) -> Table:
    """The table of the rows to draw, whose cells are paired differences where those are drawn.

    A reference that is not among the methods stays out; differences are to it all the same. Costs are metrics of it.
    """
    rows = _rows_of(table, request.methods)
    if is_paired(table, request):
        rows = [replace(row, cells=_differences(table, row)) for row in rows]
    table = with_costs(replace(table, rows=tuple(rows)), _costs_of(table, request))
    kept = {row.name for row in rows}
    curves = [replace(c, members=tuple(one for one in c.members if one[0] in kept)) for c in table.curves]
    return replace(table, curves=tuple(c for c in curves if len(c.members) > 1))


def _costs_of(table: Table, request: PlotRequest) -> list[str]:
    """The axes that are costs."""
    metrics = {facts.name for facts in table.metrics}
    return list(dict.fromkeys(name for pair in request.pairs for name in pair if name not in metrics))


def _differences(table: Table, row: Row) -> dict[str, Interval]:
    if row.name == table.reference:
        return {name: Interval(0.0, math.nan, math.nan, cell.n) for name, cell in row.cells.items()}
    return {one.facts.name: one.interval for one in table.differences.get(row.name, ())}


def named_figure(table: Table, request: PlotRequest) -> Figure:
    """The figure; close it by dropping it (it is not registered with pyplot)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    check_request(table, request)
    shown, paired = drawn_table(table, request), is_paired(table, request)
    facts = {one.name: one for one in shown.metrics}
    pairs = [(facts[x], facts[y]) for x, y in request.pairs]
    width = request.width or (COLUMN_WIDTH if len(pairs) == 1 else 7.0)
    columns = min(len(pairs), max(1, int(width / 2.2)))
    lines = math.ceil(len(pairs) / columns)
    more = f"Δ to {table.reference}" if paired else ""
    trained = any(row.in_reward(y.name) for row in shown.rows for _, y in pairs)
    text = _foot(shown, pairs, trained, paired)
    foot = foot_height(text, width)
    bottom, top = foot + (0.5 if more else 0.4), 0.3 if request.title else 0.1
    high = max(1.75, (width - 0.78) / columns * 0.72)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, bottom + top + lines * high + (lines - 1) * 0.62))
        grid = figure.subplots(lines, columns, squeeze=False)
        set_margins(figure, top=top, bottom=bottom, wspace=0.42, hspace=0.62 / high)
        spots: list[Any] = []
        for axes, (x, y) in zip(grid.flat, pairs, strict=False):
            draw_panel(axes, shown, x, y)
            axes.set_xlabel(axis_title(x, "", "" if x.name in COST_AXES else more))
            axes.set_ylabel(axis_title(y, _role(table, y), "" if y.name in COST_AXES else more))
            _set_limits(axes, shown, x, y)
            spots.append((axes, x, y))
        for axes in grid.flat[len(pairs) :]:
            axes.remove()
        name_points(figure, shown, spots, foot, most=27 if width / columns > COLUMN_WIDTH else _SHORT_NAME)
        if request.title:
            write_above(figure, textwrap.shorten(f"{table.title}{table.label}", int(width * 13), placeholder=" …"))
        write_below(figure, text)
        return figure


def _role(table: Table, facts: MetricFacts) -> str:
    if facts.kind != "image" or not table.trained_metrics:
        return ""
    return "training reward" if facts.name in table.trained_metrics else "held out"


def _foot(shown: Table, pairs: Sequence[tuple[MetricFacts, MetricFacts]], trained: bool, paired: bool) -> str:
    """The small print: how to read it, and what is not in it."""
    told = [how_to_read(shown, trained, " of paired differences (Δ)" if paired else "")]
    for x, y in pairs:
        drawn = {row.name for row, _, _ in points_of(shown, x, y)}
        absent = [row.name for row in shown.rows if row.name not in drawn]
        if absent:
            told.append(f"Without both {x.title} and {y.title}, and not shown: {', '.join(absent)}.")
        costs = [one.name for one in (x, y) if one.kind == "cost"]
        told += [HOW_COUNTED[name] for name in costs]
        if not costs and is_official(x.name) != is_official(y.name):
            told.append(f"{x.title} and {y.title} follow different protocols.")
    return " ".join(dict.fromkeys(told))


def _set_limits(axes: Any, table: Table, x: MetricFacts, y: MetricFacts) -> None:
    points = points_of(table, x, y)
    axes.set_xlim(limits([one for _, one, _ in points], x, 0.22))
    axes.set_ylim(limits([one for _, _, one in points], y, 0.16))


def plot_files(table: Table, request: PlotRequest | None) -> dict[str, bytes]:
    """plot.png, plot.svg and plot.pdf; {} where none is asked for."""
    from bench.reporting.style import drawn

    if request is None:
        return {}
    figure = named_figure(table, request)
    return {f"plot.{ending}": drawn(figure, ending) for ending in ("png", "svg", "pdf")}
