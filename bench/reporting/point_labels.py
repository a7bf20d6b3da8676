"""Names beside the points of a still plot: where they stand, how long ones are cut, and what finds no room.

A name that would cross an error bar, a symbol or another name wherever it stood is not drawn: the figure then lists it
with its symbol in a legend.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.stats import Interval
from bench.analysis.table.rows import Row, Table
from bench.reporting.cells import DAGGER
from bench.reporting.label_placement import Box, place
from bench.reporting.style import looks, text_colour
from bench.store.runs import MetricFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_OF_A_NAME = 27  # characters beside a point
Drawn = tuple[Row, Interval, Interval]
"""A method with its values on both axes."""


def reach(value: Interval) -> tuple[float, float]:
    """The ends of a value's bar; its mean twice where it has none."""
    return (value.low, value.high) if math.isfinite(value.low) else (value.mean, value.mean)


def label_points(
    axes: Axes, renderer: Any, table: Table, points: Sequence[Drawn], quality: MetricFacts, most: int = MOST_OF_A_NAME
) -> list[Row]:
    """Write the names beside their points, where there is room; returns the rows whose names found none."""
    if not points:
        return []
    style = looks([row.name for row in table.rows])
    scale = renderer.dpi / 72  # pixels per point
    names = point_names(table, most)
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
    lines, forbidden = _lines(axes, scale), _crosses(axes, points, scale)
    placed = place(centres, sizes, lines, inside, 5.0 * scale, forbidden)
    back = axes.transData.inverted()
    crowded = []
    for text, spot, (row, x, y) in zip(texts, placed, points, strict=True):
        if spot.crossed:
            text.remove()
            crowded.append(row)
            continue
        x0, y0, x1, y1 = spot.box
        text.set(position=back.transform(((x0 + x1) / 2, (y0 + y1) / 2)), ha="center", va="center")
        if spot.far:
            end = back.transform(_nearest(spot.box, axes.transData.transform((x.mean, y.mean))))
            axes.plot([x.mean, end[0]], [y.mean, end[1]], color=style[row.name][0], linewidth=0.5, alpha=0.7, zorder=5)
    return crowded


def _nearest(box: Box, point: Any) -> tuple[float, float]:
    """The point of a box that is nearest to `point`."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def point_names(table: Table, most: int = MOST_OF_A_NAME) -> dict[str, str]:
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
    return dict(zip(names, brief_names(list(names.values()), most), strict=True))


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


def _crosses(axes: Axes, points: Sequence[Drawn], scale: float) -> list[Box]:
    """Symbols and the arms of their crosses as boxes in pixels: what no name may cover."""
    boxes: list[Box] = []
    to_pixels = axes.transData.transform
    half, thick = 3.6 * scale, 1.0 * scale
    for _, x, y in points:
        cx, cy = to_pixels((x.mean, y.mean))
        (left, _), (right, _) = to_pixels((reach(x)[0], y.mean)), to_pixels((reach(x)[1], y.mean))
        (_, bottom), (_, top) = to_pixels((x.mean, reach(y)[0])), to_pixels((x.mean, reach(y)[1]))
        boxes += [
            (cx - half, cy - half, cx + half, cy + half),
            (min(left, right), cy - thick, max(left, right), cy + thick),
            (cx - thick, min(bottom, top), cx + thick, max(bottom, top)),
        ]
    return boxes


def _lines(axes: Axes, scale: float) -> list[Box]:
    """The front and the curves as boxes in pixels: what names leave free where they can."""
    boxes: list[Box] = []
    for line in axes.lines:
        if line.get_linestyle() == "--" or line.get_zorder() in (1.5, 2):
            boxes += _segments(axes.transData.transform(np.asarray(line.get_xydata())), scale)
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
