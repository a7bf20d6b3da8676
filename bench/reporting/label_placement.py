"""Places the names of points so that they cover neither each other nor the points, their error bars and the curves.

A small greedy search with refinement: each label tries positions on rings around its point and takes the cheapest.
Deterministic. Units are display pixels throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1

_ANGLES = tuple(math.radians(degrees) for degrees in (30, 150, -30, -150, 90, -90, 0, 180, 60, 120, -60, -120))
_SWEEPS = 4
_OUTSIDE, _LABEL, _BAR = 80.0, 40.0, 1.0  # cost per covered square unit of text size, relative
_HARD = 30  # times as heavy as other obstacles
_RINGS = (1.0, 1.8, 3.0, 4.5, 6.5, 9.0, 12.0)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a label goes: its box, and whether it is so far off that a line should lead to its point.

    `crossed`: wherever it stood it would cover what no label may cover, or stick out.
    """

    box: Box
    far: bool
    crossed: bool = False


def _overlap(boxes: Floats, box: Box) -> float:
    """Area that `box` shares with the boxes [N, 4]."""
    if not len(boxes):
        return 0.0
    width = np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0])
    height = np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1])
    return float(np.sum(np.clip(width, 0, None) * np.clip(height, 0, None)))


def _candidates(x: float, y: float, width: float, height: float, gap: float) -> list[tuple[Box, float]]:
    """Boxes of the label's size on rings around the point, each with its distance from the point in gaps."""
    boxes = []
    for ring in _RINGS:
        for rank, angle in enumerate(_ANGLES):
            dx, dy = math.cos(angle), math.sin(angle)
            # The box touches the ring with the side or corner that faces the point.
            cx = x + dx * gap * ring + (width / 2) * max(-1.0, min(1.0, dx * 1.6))
            cy = y + dy * gap * ring + (height / 2) * max(-1.0, min(1.0, dy * 1.6))
            box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            boxes.append((box, ring + rank * 0.02))
    return boxes


def place(
    points: Floats, sizes: Floats, obstacles: Sequence[Box], inside: Box, gap: float, forbidden: Sequence[Box] = ()
) -> list[Placed]:
    """Boxes for labels of `sizes` [N, 2] at `points` [N, 2] that avoid `obstacles` and stay inside `inside`.

    `gap` is the nearest distance of a label from its point. Obstacles count by area, so draw lines as thin boxes; a
    label over anything `forbidden` is `crossed`, as is the later of two labels over one another.
    """
    hard = np.asarray(forbidden, dtype=np.float64).reshape(-1, 4)
    fixed = np.asarray(obstacles, dtype=np.float64).reshape(-1, 4)
    found: dict[int, tuple[Box, float]] = {}
    choices = [
        _candidates(x, y, width, height, gap)
        for (x, y), (width, height) in zip(points.tolist(), sizes.tolist(), strict=True)
    ]
    crowd = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    order = np.argsort([np.sort(row)[1] if len(row) > 1 else 0 for row in crowd], kind="stable")
    for sweep in range(_SWEEPS):
        changed = False
        for i in order:
            others = np.asarray([found[j][0] for j in found if j != i], dtype=np.float64).reshape(-1, 4)
            best = min(choices[i], key=lambda one, seen=others: _cost(one, (fixed, hard, seen), inside, gap))  # type: ignore[misc]
            changed = changed or found.get(int(i)) != best
            found[int(i)] = best
        if sweep and not changed:
            break
    made: list[Placed] = []
    for i in range(len(points)):
        box, distance = found[i]
        kept = np.asarray([one.box for one in made if not one.crossed], dtype=np.float64).reshape(-1, 4)
        crossed = _overlap(hard, box) + _overlap(kept, box) > 0 or _beyond(box, inside) > 0
        made.append(Placed(box, distance >= 2.5, crossed))
    return made


def _beyond(box: Box, inside: Box) -> float:
    """How far a box sticks out."""
    return (
        max(0.0, inside[0] - box[0])
        + max(0.0, inside[1] - box[1])
        + max(0.0, box[2] - inside[2])
        + max(0.0, box[3] - inside[3])
    )


def _cost(choice: tuple[Box, float], seen: tuple[Floats, Floats, Floats], inside: Box, gap: float) -> float:
    """`seen`: obstacles, what is forbidden, and the other labels."""
    (box, distance), (fixed, hard, labels) = choice, seen
    outside = _beyond(box, inside)
    unit = gap * gap
    margin = (box[0] - gap / 4, box[1] - gap / 4, box[2] + gap / 4, box[3] + gap / 4)
    return (
        distance
        + (_BAR * (_overlap(fixed, box) + _HARD * _overlap(hard, box)) + _LABEL * _overlap(labels, margin)) / unit
        + _OUTSIDE * outside / gap
    )
