"""The Pareto front of methods: who is not beaten in one measure without losing in the other. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def oriented(points: ArrayLike, higher: Sequence[bool]) -> NDArray[np.float64]:
    """Points [N, D] with the columns that are better when lower turned round, so that higher is always better."""
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(higher):
        raise ValueError(f"points {values.shape} need one direction per column, got {len(higher)}")
    return values * np.where(np.asarray(higher, dtype=bool), 1.0, -1.0)


def dominates(a: ArrayLike, b: ArrayLike, higher: Sequence[bool] = (True, True)) -> bool:
    """True when point a [D] is at least as good as b [D] everywhere and better somewhere; NaN dominates nothing."""
    first, second = oriented(np.stack([np.asarray(a), np.asarray(b)]), higher)
    return bool(np.all(first >= second) and np.any(first > second))


def front(points: ArrayLike, higher: Sequence[bool] = (True, True)) -> NDArray[np.bool_]:
    """Which of the points [N, D] no other point dominates, [N].

    Equal points are on the front together; a point with NaN is never on it. `higher` states per column whether higher
    is better.
    """
    return np.asarray(fronts(oriented(points, higher)[None])[0])


def fronts(points: ArrayLike, higher: Sequence[bool] | None = None) -> NDArray[np.bool_]:
    """`front` of many sets of points [S, N, D] at once, [S, N]. `higher` None: higher is better everywhere."""
    values = np.asarray(points, dtype=np.float64)
    if higher is not None:
        values = values * np.where(np.asarray(higher, dtype=bool), 1.0, -1.0)
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=2))
    at_least = np.ones((*valid.shape, valid.shape[1]), dtype=bool)  # [s, i, j]: i at least as good as j everywhere
    better = np.zeros_like(at_least)
    for column in np.moveaxis(values, 2, 0):
        mine, theirs = column[:, :, None], column[:, None, :]
        at_least &= np.greater_equal(mine, theirs)
        better |= np.greater(mine, theirs)
    beaten = (at_least & better & valid[:, :, None]).any(axis=1)
    return np.asarray(valid & ~beaten)


def staircase(x: ArrayLike, y: ArrayLike, higher: Sequence[bool] = (True, True)) -> NDArray[np.float64]:
    """The border of what the front attains, as vertices [M, 2] from the best y to the best x.

    Between two points of the front only the worse of each coordinate is attained, hence steps and not a straight line.
    """
    points = np.column_stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    kept = np.unique(oriented(points[front(points, higher)], higher), axis=0)  # ascending x, so descending y
    corners = np.column_stack([kept[:-1, 0], kept[1:, 1]])
    path = np.empty((max(0, 2 * len(kept) - 1), 2))
    path[0::2], path[1::2] = kept, corners
    return oriented(path, higher)
