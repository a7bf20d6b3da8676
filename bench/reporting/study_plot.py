"""The claim of the paper in one picture: preference against diversity, people on both axes.

With one task only, its win rates in a row. Fonts are embedded as Type 42, as many venues ask for.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.stats import Interval
from bench.formatting import one_line
from bench.reporting.label_placement import Box, place
from bench.reporting.style import FAINT, INK, RC, looks, save, text_colour
from bench.study.findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "preference": "Preference: share of votes won →",
    "diversity": "Diversity: share of votes won →",
    "alignment": "Alignment: share of votes won →",
}
_NAME = 26


def drawn(findings: Findings) -> dict[str, bytes]:
    """study.png, .svg and .pdf."""
    import matplotlib as mpl

    files = {}
    with warnings.catch_warnings(), mpl.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # methods may be named in any script
        figure = study_figure(findings)
        for ending in ("png", "svg", "pdf"):
            buffer = io.BytesIO()
            save(figure, buffer, ending)
            files[f"study.{ending}"] = buffer.getvalue()
    return files


def study_figure(findings: Findings) -> Figure:
    """Preference (upwards) against diversity (to the right); without both tasks, a row of intervals for each task."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = findings.tasks
    with mpl.rc_context(RC):
        if "preference" in tasks and "diversity" in tasks:
            figure = Figure(figsize=(4.2, 3.7))
            axes = figure.subplots()
            figure.subplots_adjust(left=0.12, right=0.97, bottom=0.2, top=0.9)
            points = _points(findings, "diversity", "preference")
            _crosses(axes, findings, points)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            _names(axes, canvas.get_renderer(), findings, points)
            how = "Better: up and right. Crosses: 95 % intervals over raters and prompts; dotted: one half."
        else:
            figure = _rows(findings, Figure)
            how = "Share of votes won against the other methods, ties as half; 95 % intervals over raters and prompts."
        height = figure.get_size_inches()[1]
        title = "What simulated raters say" if findings.simulated else "What people say"
        figure.text(0.02, 1 - 0.16 / height, title, size=8.5, weight="bold", va="center")
        caption = "\n".join(textwrap.wrap(f"{_size(findings)} {how}", 88))
        figure.text(0.02, 0.06 / height, caption, size=6, color=INK, va="bottom", linespacing=1.4)
        return figure


def _size(findings: Findings) -> str:
    who = "simulated raters" if findings.simulated else "raters"
    each = [
        f"{one.judged.votes:,} votes of {one.judged.raters:,} {who} ({task})" for task, one in findings.tasks.items()
    ]
    return f"{', '.join(each)}."


Point = tuple[str, Interval, Interval]


def _points(findings: Findings, x: str, y: str) -> list[Point]:
    across, up = findings.tasks[x].judged.methods, findings.tasks[y].judged.methods
    return [(name, across[name], up[name]) for name in findings.methods if name in across and name in up]


def _reach(value: Interval) -> tuple[float, float]:
    return (value.low, value.high) if math.isfinite(value.low) else (value.mean, value.mean)


def _crosses(axes: Axes, findings: Findings, points: list[Point]) -> None:
    style = looks(list(findings.methods))
    axes.grid(True)
    for line in (axes.axhline, axes.axvline):
        line(0.5, color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
    for name, x, y in points:
        colour, marker = style[name]
        cross: dict[str, Any] = {"color": colour, "linewidth": 0.9, "alpha": 0.6, "zorder": 3}
        axes.plot(_reach(x), [y.mean] * 2, **cross)
        axes.plot([x.mean] * 2, _reach(y), **cross)
        axes.plot([x.mean], [y.mean], marker, color=colour, markersize=5.0, zorder=4)
    axes.set_xlabel(AXES["diversity"])
    axes.set_ylabel(AXES["preference"])
    for values, limit in (([x for _, x, _ in points], axes.set_xlim), ([y for _, _, y in points], axes.set_ylim)):
        low, high = min(_reach(v)[0] for v in values), max(_reach(v)[1] for v in values)
        pad = 0.12 * max(high - low, 0.1)
        limit(max(-0.02, min(low, 0.5) - pad), min(1.02, max(high, 0.5) + pad))


def _names(axes: Axes, renderer: Any, findings: Findings, points: list[Point]) -> None:
    """Names where there is room beside the crosses."""
    style, scale = looks(list(findings.methods)), renderer.dpi / 72
    texts = [
        axes.text(0, 0, _short(name), color=text_colour(style[name][0]), size=6.6, zorder=6) for name, _, _ in points
    ]
    sizes = np.asarray([[box.width, box.height] for box in (text.get_window_extent(renderer) for text in texts)])
    to_pixels, frame = axes.transData.transform, axes.get_window_extent(renderer)
    boxes: list[Box] = []
    for _, x, y in points:
        (x0, y0), (x1, y1) = to_pixels((_reach(x)[0], _reach(y)[0])), to_pixels((_reach(x)[1], _reach(y)[1]))
        cx, cy = to_pixels((x.mean, y.mean))
        boxes += [(x0, cy - scale, x1, cy + scale), (cx - scale, y0, cx + scale, y1)] * 2
        boxes += [(cx - 4 * scale, cy - 4 * scale, cx + 4 * scale, cy + 4 * scale)] * 8
    inside = (frame.x0 + scale, frame.y0 + scale, frame.x1 - scale, frame.y1 - scale)
    centres = np.asarray([to_pixels((x.mean, y.mean)) for _, x, y in points])
    back = axes.transData.inverted()
    for text, spot in zip(texts, place(centres, sizes, boxes, inside, 5.0 * scale), strict=True):
        left, bottom, right, top = spot.box
        text.set(position=back.transform(((left + right) / 2, (bottom + top) / 2)), ha="center", va="center")


def _short(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _rows(findings: Findings, figure_class: Any) -> Figure:
    """A row a method, a panel a task."""
    tasks, names = list(findings.tasks), list(findings.methods)
    figure: Figure = figure_class(figsize=(max(4.2, 2.6 * len(tasks)), 1.1 + 0.28 * len(names)))
    height = figure.get_size_inches()[1]
    grid = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.24, right=0.97, bottom=0.72 / height, top=1 - 0.34 / height, wspace=0.1)
    style = looks(names)
    for task, axes in zip(tasks, grid, strict=True):
        axes.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
        for row, name in enumerate(reversed(names)):
            value = findings.tasks[task].judged.methods.get(name)
            if value is not None:
                colour, marker = style[name]
                axes.plot(_reach(value), [row, row], color=colour, linewidth=1.1, alpha=0.7)
                axes.plot([value.mean], [row], marker, color=colour, markersize=5.0)
        axes.set_xlabel(AXES.get(task, task))
        axes.grid(True, axis="x")
    grid[0].set_yticks(range(len(names)), [_short(name) for name in reversed(names)])
    grid[0].set_ylim(-0.6, len(names) - 0.4)
    return figure
