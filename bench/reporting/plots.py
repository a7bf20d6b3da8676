"""The Pareto plot: quality against diversity, one column per diversity measure, fit for a paper.

First row: a held-out reward, which no method was trained on. Second row: the training reward, where there is one.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.pareto import front, staircase
from bench.analysis.stats import Interval
from bench.analysis.table.rows import Row, Table
from bench.reporting.cells import DAGGER
from bench.reporting.point_labels import MOST_OF_A_NAME, Drawn, brief_names, label_points, reach
from bench.reporting.style import FAINT, INK, PAGE_WIDTH, RC, looks
from bench.store.runs import MetricFacts
from metrics.types import is_official

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 3
_NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0)


def of_one_protocol(table: Table) -> list[MetricFacts]:
    """The metrics that judgements over several of them take: the corrected ones, or only official ones."""
    corrected = [facts for facts in table.metrics if not is_official(facts.name)]
    official = [facts for facts in table.metrics if is_official(facts.name)]
    return official if official and not any(facts.kind == "image" for facts in corrected) else corrected


def quality_axes(table: Table) -> list[tuple[MetricFacts, str]]:
    """(metric, role) of the rows: the first held-out reward, then the first training reward."""
    images = [facts for facts in of_one_protocol(table) if facts.kind == "image"]
    held_out = [facts for facts in images if facts.name not in table.trained_metrics]
    trained = [facts for facts in images if facts.name in table.trained_metrics]
    role = "held out" if trained else ""
    return [(facts, role) for facts in held_out[:1]] + [(facts, "training reward") for facts in trained[:1]]


def diversity_axes(table: Table) -> list[MetricFacts]:
    """Metrics of the columns: up to three group metrics; without any, a set metric."""
    metrics = of_one_protocol(table)
    groups = [facts for facts in metrics if facts.kind == "group"]
    return (groups or [facts for facts in metrics if facts.kind == "set"])[:_MAX_COLUMNS]


def pareto_figure(table: Table) -> Figure:
    """The whole figure; close it by dropping it (it is not registered with pyplot)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows, columns = quality_axes(table), diversity_axes(table)
    with mpl.rc_context(RC):
        if not rows or not columns:
            return _empty_figure(table, Figure)
        height = 0.72 + 2.05 * len(rows)
        figure = Figure(figsize=(PAGE_WIDTH if len(columns) > 1 else 4.2, height))
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
        spots = []
        for (quality, role), line in zip(rows, grid, strict=True):
            for diversity, axes in zip(columns, line, strict=True):
                draw_panel(axes, table, diversity, quality)
                spots.append((axes, diversity, quality))
            line[0].set_ylabel(axis_title(quality, role))
        for diversity, axes in zip(columns, grid[-1], strict=True):
            axes.set_xlabel(axis_title(diversity))
        figure.align_ylabels(grid[:, 0])
        _set_limits(grid, table, columns, [quality for quality, _ in rows])
        set_margins(figure, top=0.32, bottom=0.68, wspace=0.13, hspace=0.12)
        text = how_to_read(table, any(role == "training reward" for _, role in rows))
        name_points(figure, table, spots, foot_height(text, figure.get_size_inches()[0]))
        title = f"{textwrap.shorten(table.title, 60, placeholder=' …')}: quality against diversity{table.label}"
        write_above(figure, title)
        write_below(figure, text)
        return figure


Spot = tuple["Axes", MetricFacts, MetricFacts]
"""A panel with the metrics of its axes, x and y."""
_LEFT, _RIGHT = 0.66, 0.12  # inches beside the panels
_ENTRY = 1.75  # inches, of a name in the legend


def axis_title(facts: MetricFacts, role: str = "", more: str = "") -> str:
    """The metric on short lines with its direction; below it the role of a reward and what else there is."""
    title = "\n".join(textwrap.wrap(facts.display, 30))
    mark = {"training reward": f"training reward {DAGGER}", "held out": "held out", "": ""}[role]
    below = " · ".join(part for part in (mark, more) if part)
    return f"{title} {facts.arrow}" + (f"\n{below}" if below else "")


def foot_height(text: str, width: float) -> float:
    """Inches at the foot of a figure that its small print takes."""
    return 0.14 + 0.12 * (small_print(text, width).count("\n") + 1)


def set_margins(figure: Figure, top: float, bottom: float, wspace: float, hspace: float) -> None:
    """Margins in inches, so that every size of figure has the same ones."""
    width, height = figure.get_size_inches()
    edges = {"left": _LEFT / width, "right": 1 - _RIGHT / width, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**edges, wspace=wspace, hspace=hspace)


def name_points(figure: Figure, table: Table, spots: Sequence[Spot], foot: float, most: int = MOST_OF_A_NAME) -> None:
    """Write names beside points; those that find no room in some panel go into a legend, for which the figure grows.

    `foot`: inches at the foot that the small print takes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # Agg measures the text; the figure can still be saved in any format
    canvas.draw()
    crowded: dict[str, Row] = {}
    for axes, x, y in spots:
        for row in label_points(axes, canvas.get_renderer(), table, points_of(table, x, y), y, most):
            crowded[row.name] = row
    if crowded:
        _add_legend(figure, table, [row for row in table.rows if row.name in crowded], foot)


def _add_legend(figure: Figure, table: Table, rows: Sequence[Row], foot: float) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    columns = max(1, int((width - _LEFT) / _ENTRY))
    lift = 0.08 + 0.125 * math.ceil(len(rows) / columns)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position(
            (box.x0, (box.y0 * height + lift) / (height + lift), box.width, box.height * height / (height + lift))
        )
    figure.set_size_inches(width, height + lift)
    style = looks([row.name for row in table.rows])
    names = brief_names([row.name for row in rows], int(_ENTRY * 18))
    handles = [
        Line2D([], [], linestyle="", marker=style[row.name][1], color=style[row.name][0], markersize=4, label=name)
        for row, name in zip(rows, names, strict=True)
    ]
    figure.legend(
        handles=handles,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(_LEFT / width, foot / (height + lift)),
        fontsize=6,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.35,
        handletextpad=0.2,
        columnspacing=0.8,
    )


def write_above(figure: Figure, title: str) -> None:
    """The title of a figure."""
    width, height = figure.get_size_inches()
    figure.text(_LEFT / width, 1 - 0.13 / height, title, size=8.5, weight="bold", va="center")


def write_below(figure: Figure, text: str) -> None:
    """How to read the figure, in small print at its foot."""
    width, height = figure.get_size_inches()
    figure.text(_LEFT / width, 0.08 / height, small_print(text, width), size=6, color=INK, va="bottom", linespacing=1.4)


def small_print(text: str, width: float) -> str:
    """The text in lines that fit a figure of so many inches."""
    return "\n".join(textwrap.wrap(text, int((width - _LEFT) * 23.5)))


def how_to_read(table: Table, trained: bool, of: str = "") -> str:
    """What the marks of a plot mean; `of`: of what the crosses are intervals, where not of means."""
    run = table.rows[0].run
    text = f"Better: up and right. {len(run.prompts):,} prompts × {run.samples} images; crosses: 95 % intervals{of} "
    text += "over prompts; dashed: Pareto front."
    return text + (f" {DAGGER} and open symbols: trained on this reward." if trained else "")


def _empty_figure(table: Table, figure_class: Any) -> Figure:
    figure: Figure = figure_class(figsize=(PAGE_WIDTH, 1.0))
    what = "no image metric" if not quality_axes(table) else "no diversity metric"
    figure.text(0.5, 0.5, f"{table.title}: {what} was scored, so there is no trade-off to show", ha="center", size=8)
    return figure


def points_of(table: Table, diversity: MetricFacts, quality: MetricFacts) -> list[Drawn]:
    """(row, x, y) of the methods that have both values."""
    pairs = [
        (row, row.cells.get(diversity.name, _NO_INTERVAL), row.cells.get(quality.name, _NO_INTERVAL))
        for row in table.rows
    ]
    return [pair for pair in pairs if math.isfinite(pair[1].mean) and math.isfinite(pair[2].mean)]


def draw_panel(axes: Axes, table: Table, diversity: MetricFacts, quality: MetricFacts) -> None:
    """One plot of two metrics: the front, the curves of sweeps, and a cross for every method with both values."""
    axes.grid(True)
    axes.locator_params(nbins=6)
    points = points_of(table, diversity, quality)
    if not points:
        axes.text(0.5, 0.5, "not scored", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    style = looks([row.name for row in table.rows])
    _draw_front(axes, points, (diversity.higher, quality.higher))
    at = {row.name: (x.mean, y.mean) for row, x, y in points}
    for curve in table.curves:
        path = [at[name] for name, _ in curve.members if name in at]
        if len(path) > 1:
            axes.plot(*zip(*path, strict=True), color=style[curve.members[0][0]][0], linewidth=0.8, alpha=0.6, zorder=2)
    for row, x, y in points:
        _draw_point(axes, row, x, y, style[row.name], row.in_reward(quality.name))


def _draw_point(axes: Axes, row: Row, x: Interval, y: Interval, style: tuple[str, str], trained: bool) -> None:
    colour, marker = style
    cross: dict[str, Any] = {"color": colour, "linewidth": 0.9, "alpha": 0.55, "zorder": 3, "solid_capstyle": "butt"}
    axes.plot(reach(x), [y.mean] * 2, **cross)
    axes.plot([x.mean] * 2, reach(y), **cross)
    face = "white" if trained else colour
    size = 4.6 if marker in "so^vD" else 5.4
    axes.plot(
        [x.mean], [y.mean], marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1.0, zorder=4
    )


def _draw_front(axes: Axes, points: Sequence[Drawn], higher: tuple[bool, bool]) -> None:
    xs, ys = [x.mean for _, x, _ in points], [y.mean for _, _, y in points]
    if int(front(np.column_stack([xs, ys]), higher).sum()):
        steps = staircase(xs, ys, higher)
        axes.plot(steps[:, 0], steps[:, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.5)


def limits(values: Sequence[Interval], facts: MetricFacts, room: float) -> tuple[float, float] | None:
    """Limits that leave room for the names; an axis whose lower values are better runs backwards."""
    kept = [reach(value) for value in values if math.isfinite(value.mean)]
    if not kept:
        return None
    low, high = min(one[0] for one in kept), max(one[1] for one in kept)
    pad = (high - low) * room or max(abs(high), 1.0) * 0.05
    return (low - pad, high + pad) if facts.higher else (high + pad, low - pad)


def _set_limits(grid: Any, table: Table, columns: Sequence[MetricFacts], qualities: Sequence[MetricFacts]) -> None:
    for axes, facts in zip(grid[0], columns, strict=True):
        axes.set_xlim(limits([row.cells.get(facts.name, _NO_INTERVAL) for row in table.rows], facts, 0.2))
    for axes, facts in zip(grid[:, 0], qualities, strict=True):
        axes.set_ylim(limits([row.cells.get(facts.name, _NO_INTERVAL) for row in table.rows], facts, 0.14))
