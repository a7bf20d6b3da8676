"""The Pareto plot: quality against diversity, one column per diversity measure, fit for a paper.

First row: a held-out reward, which no method was trained on. Second row: the training reward, where there is one.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.pareto import front, staircase
from bench.analysis.stats import Interval
from bench.analysis.table.rows import Row, Table
from bench.reporting.cells import DAGGER
from bench.reporting.label_placement import Box, place
from bench.reporting.style import FAINT, INK, PAGE_WIDTH, RC, looks, text_colour
from bench.store.runs import MetricFacts
from metrics.types import is_official

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 3
MOST_OF_A_NAME = 27  # characters beside a point
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = quality_axes(table), diversity_axes(table)
    with mpl.rc_context(RC):
        if not rows or not columns:
            return _empty_figure(table, Figure)
        height = 0.72 + 2.05 * len(rows)
        figure = Figure(figsize=(PAGE_WIDTH if len(columns) > 1 else 4.2, height))
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
        for (quality, role), line in zip(rows, grid, strict=True):
            for diversity, axes in zip(columns, line, strict=True):
                _panel(axes, table, diversity, quality)
            line[0].set_ylabel(_axis_title(quality, role))
        for diversity, axes in zip(columns, grid[-1], strict=True):
            axes.set_xlabel(_axis_title(diversity))
        figure.align_ylabels(grid[:, 0])
        _furnish(figure, table, any(role == "training reward" for _, role in rows))
        _set_limits(grid, table, columns, [quality for quality, _ in rows])
        canvas: Any = FigureCanvasAgg(figure)  # Agg measures the text; the figure can still be saved in any format
        canvas.draw()
        for (quality, _), line in zip(rows, grid, strict=True):
            for diversity, axes in zip(columns, line, strict=True):
                _label_points(axes, canvas.get_renderer(), table, diversity, quality)
        return figure


def _axis_title(facts: MetricFacts, role: str = "") -> str:
    title = "\n".join(textwrap.wrap(facts.display, 30))
    mark = {"training reward": f"\ntraining reward {DAGGER}", "held out": "\nheld out", "": ""}[role]
    return f"{title} {facts.arrow}{mark}"


def _furnish(figure: Figure, table: Table, trained: bool) -> None:
    """Title above, how to read it below, margins in inches so that every size of figure has the same ones."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.66 / width, right=1 - 0.12 / width, bottom=0.68 / height, top=1 - 0.32 / height, wspace=0.13, hspace=0.12
    )
    title = f"{textwrap.shorten(table.title, 60, placeholder=' …')}: quality against diversity{table.label}"
    figure.text(0.66 / width, 1 - 0.13 / height, title, size=8.5, weight="bold", va="center")
    run = table.rows[0].run
    legend = f"Better: up and right. {len(run.prompts):,} prompts × {run.samples} images; crosses: 95 % intervals "
    legend += "over prompts; dashed: Pareto front."
    if trained:
        legend += f" {DAGGER} and open symbols: trained on this reward."
    lines = "\n".join(textwrap.wrap(legend, 150 if width > 5 else 88))
    figure.text(0.66 / width, 0.08 / height, lines, size=6, color=INK, va="bottom", linespacing=1.4)


def _empty_figure(table: Table, figure_class: Any) -> Figure:
    figure: Figure = figure_class(figsize=(PAGE_WIDTH, 1.0))
    what = "no image metric" if not quality_axes(table) else "no diversity metric"
    figure.text(0.5, 0.5, f"{table.title}: {what} was scored, so there is no trade-off to show", ha="center", size=8)
    return figure


def _points(table: Table, diversity: MetricFacts, quality: MetricFacts) -> list[tuple[Row, Interval, Interval]]:
    """(row, x, y) of the methods that have both values."""
    pairs = [
        (row, row.cells.get(diversity.name, _NO_INTERVAL), row.cells.get(quality.name, _NO_INTERVAL))
        for row in table.rows
    ]
    return [pair for pair in pairs if math.isfinite(pair[1].mean) and math.isfinite(pair[2].mean)]


def _reach(value: Interval) -> tuple[float, float]:
    return (value.low, value.high) if math.isfinite(value.low) else (value.mean, value.mean)


def _panel(axes: Axes, table: Table, diversity: MetricFacts, quality: MetricFacts) -> None:
    axes.grid(True)
    axes.locator_params(nbins=6)
    points = _points(table, diversity, quality)
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
    axes.plot(_reach(x), [y.mean] * 2, **cross)
    axes.plot([x.mean] * 2, _reach(y), **cross)
    face = "white" if trained else colour
    size = 4.6 if marker in "so^vD" else 5.4
    axes.plot(
        [x.mean], [y.mean], marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1.0, zorder=4
    )


def _draw_front(axes: Axes, points: Sequence[tuple[Row, Interval, Interval]], higher: tuple[bool, bool]) -> None:
    xs, ys = [x.mean for _, x, _ in points], [y.mean for _, _, y in points]
    if int(front(np.column_stack([xs, ys]), higher).sum()):
        steps = staircase(xs, ys, higher)
        axes.plot(steps[:, 0], steps[:, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.5)


def _limits(values: Sequence[Interval], facts: MetricFacts, room: float) -> tuple[float, float] | None:
    """Limits that leave room for the names; an axis whose lower values are better runs backwards."""
    kept = [_reach(value) for value in values if math.isfinite(value.mean)]
    if not kept:
        return None
    low, high = min(one[0] for one in kept), max(one[1] for one in kept)
    pad = (high - low) * room or max(abs(high), 1.0) * 0.05
    return (low - pad, high + pad) if facts.higher else (high + pad, low - pad)


def _set_limits(grid: Any, table: Table, columns: Sequence[MetricFacts], qualities: Sequence[MetricFacts]) -> None:
    for axes, facts in zip(grid[0], columns, strict=True):
        axes.set_xlim(_limits([row.cells.get(facts.name, _NO_INTERVAL) for row in table.rows], facts, 0.2))
    for axes, facts in zip(grid[:, 0], qualities, strict=True):
        axes.set_ylim(_limits([row.cells.get(facts.name, _NO_INTERVAL) for row in table.rows], facts, 0.14))


def _label_points(axes: Axes, renderer: Any, table: Table, diversity: MetricFacts, quality: MetricFacts) -> None:
    """Write the names beside their points, where there is room."""
    points = _points(table, diversity, quality)
    if not points:
        return
    style = looks([row.name for row in table.rows])
    scale = renderer.dpi / 72  # pixels per point
    names = point_names(table)
    look: dict[str, Any] = {"size": 6.6 if len(points) <= 8 else 5.8, "zorder": 6}
    marks = [f" {DAGGER}" if row.in_reward(quality.name) and not row.setting else "" for row, _, _ in points]
    texts = [
        axes.text(0, 0, names[row.name] + mark, color=text_colour(style[row.name][0]), **look)
        for (row, _, _), mark in zip(points, marks, strict=True)
    ]
    sizes = np.asarray([[box.width, box.height] for box in (text.get_window_extent(renderer) for text in texts)])
    centres = axes.transData.transform([(x.mean, y.mean) for _, x, y in points])
    frame = axes.get_window_extent(renderer)
    inside = (frame.x0 + scale, frame.y0 + scale, frame.x1 - scale, frame.y1 - scale)
    placed = place(centres, sizes, _obstacles(axes, points, scale), inside, 5.0 * scale)
    back = axes.transData.inverted()
    for text, spot, (row, x, y) in zip(texts, placed, points, strict=True):
        x0, y0, x1, y1 = spot.box
        text.set(position=back.transform(((x0 + x1) / 2, (y0 + y1) / 2)), ha="center", va="center")
        if spot.far:
            end = back.transform(_nearest(spot.box, axes.transData.transform((x.mean, y.mean))))
            axes.plot([x.mean, end[0]], [y.mean, end[1]], color=style[row.name][0], linewidth=0.5, alpha=0.7, zorder=5)


def _nearest(box: Box, point: Any) -> tuple[float, float]:
    """The point of a box that is nearest to `point`."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def point_names(table: Table) -> dict[str, str]:
    """Row name -> what stands beside its point: on a curve the values, after the family and parameter at the first.

    A method at its own setting keeps its name, on a curve as well.
    """
    names = {row.name: row.name for row in table.rows}
    plain = {row.name for row in table.rows if not row.setting}
    crossed = Counter(name for curve in table.curves for name, _ in curve.members)
    for curve in table.curves:
        swept = [(name, value) for name, value in curve.members if name not in plain and crossed[name] == 1]
        for i, (name, value) in enumerate(swept):
            names[name] = value if i else f"{curve.family} {curve.parameter}={value}"
    return dict(zip(names, brief_names(list(names.values())), strict=True))


def brief_names(names: Sequence[str], most: int = MOST_OF_A_NAME) -> list[str]:
    """Names with the middle of long ones left out, since checkpoints differ at the end; different names stay different.

    >>> brief_names(["our-method-with-a-long-name-step-00500", "our-method-with-a-long-name-step-01000", "base"])
    ['our-method-wi…e-step-00500', 'our-method-wi…e-step-01000', 'base']
    """
    longest = max(map(len, names), default=0)
    for length in range(most, longest + 1):
        made = [_cut(name, length) for name in names]
        if len(set(made)) == len(set(names)):
            return made
    return list(names)


def _cut(text: str, length: int) -> str:
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - 1 - half]}…{text[len(text) - half :]}"


def _obstacles(axes: Axes, points: Sequence[tuple[Row, Interval, Interval]], scale: float) -> list[Box]:
    """Markers, arms of the crosses and the front as boxes in pixels; markers count several times as heavy."""
    boxes: list[Box] = []
    to_pixels = axes.transData.transform
    for _, x, y in points:
        cx, cy = to_pixels((x.mean, y.mean))
        half = 3.6 * scale
        boxes += [(cx - half, cy - half, cx + half, cy + half)] * 12
        (left, _), (right, _) = to_pixels((_reach(x)[0], y.mean)), to_pixels((_reach(x)[1], y.mean))
        (_, bottom), (_, top) = to_pixels((x.mean, _reach(y)[0])), to_pixels((x.mean, _reach(y)[1]))
        thick = 1.0 * scale
        boxes += [(min(left, right), cy - thick, max(left, right), cy + thick)] * 2
        boxes += [(cx - thick, min(bottom, top), cx + thick, max(bottom, top))] * 2
    for line in axes.lines:
        if line.get_linestyle() == "--" or line.get_zorder() in (1.5, 2):
            boxes += _segments(to_pixels(np.asarray(line.get_xydata())), scale)
    return boxes


def _segments(path: Any, scale: float) -> list[Box]:
    """A path [M, 2] in pixels as small boxes along it."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(path):
        count = max(1, int(math.hypot(x1 - x0, y1 - y0) / (4 * scale)))
        for i in range(count):
            ax, ay = x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count
            bx, by = x0 + (x1 - x0) * (i + 1) / count, y0 + (y1 - y0) * (i + 1) / count
            boxes.append(
                (min(ax, bx) - scale / 2, min(ay, by) - scale / 2, max(ax, bx) + scale / 2, max(ay, by) + scale / 2)
            )
    return boxes
