"""Placing names: apart from each other, off the points, inside the frame, always the same."""

from __future__ import annotations

import numpy as np

from bench.reporting.label_placement import place

FRAME = (0.0, 0.0, 400.0, 300.0)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def test_a_cluster_of_points_gets_names_apart() -> None:
    points = np.random.default_rng(0).normal(size=(8, 2)) * 15 + (200, 150)
    sizes = np.full((8, 2), (60.0, 12.0))
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    placed = place(points, sizes, marks * 4, FRAME, 7.0)
    boxes = [one.box for one in placed]
    assert not any(_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 400 and box[3] <= 300 for box in boxes)
    assert placed == place(points, sizes, marks * 4, FRAME, 7.0)


def test_a_lone_point_has_its_name_close_by() -> None:
    (placed,) = place(np.asarray([[200.0, 150.0]]), np.asarray([[60.0, 12.0]]), [], FRAME, 7.0)
    assert not placed.far
    assert 200 < placed.box[0] < 215


def test_at_the_border_names_stay_inside() -> None:
    (placed,) = place(np.asarray([[395.0, 295.0]]), np.asarray([[60.0, 12.0]]), [], FRAME, 7.0)
    assert placed.box[2] <= 400
    assert placed.box[3] <= 300
