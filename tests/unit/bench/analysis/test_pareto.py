"""The front: dominance, ties, directions, NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis import pareto


def test_front_of_a_known_set() -> None:
    points = [(1, 4), (2, 3), (1.5, 2), (3, 1), (0.5, 4)]
    assert pareto.front(points).tolist() == [True, True, False, True, False]


def test_equal_points_share_the_front_and_ties_in_one_measure_lose() -> None:
    assert pareto.front([(1, 2), (1, 2)]).tolist() == [True, True]
    assert pareto.front([(1, 2), (1, 3)]).tolist() == [False, True]


def test_directions_are_turned() -> None:
    points = [(0.3, 20.0), (0.2, 40.0), (0.4, 50.0)]  # higher diversity, lower FID
    assert pareto.front(points, (True, False)).tolist() == [True, False, True]


def test_nan_is_never_on_the_front_and_never_beats() -> None:
    assert pareto.front([(math.nan, 9), (1, 1)]).tolist() == [False, True]
    assert not pareto.front(np.full((2, 2), math.nan)).any()


def test_front_agrees_with_dominance_on_random_points() -> None:
    points = np.random.default_rng(0).integers(0, 6, size=(40, 3)).astype(float)
    higher = (True, False, True)
    wanted = [not any(pareto.dominates(other, point, higher) for other in points) for point in points]
    assert pareto.front(points, higher).tolist() == wanted


def test_staircase_goes_down_in_steps() -> None:
    assert pareto.staircase([1, 3, 2], [4, 1, 3]).tolist() == [[1, 4], [1, 3], [2, 3], [2, 1], [3, 1]]
    assert pareto.staircase([1, 2], [5, 5]).tolist() == [[2, 5]]
    assert pareto.staircase([math.nan], [1]).shape == (0, 2)


def test_staircase_with_a_lower_is_better_axis() -> None:
    path = pareto.staircase([20, 40], [1, 2], (False, True))
    assert path.tolist() == [[40, 2], [40, 1], [20, 1]]


def test_one_direction_per_column() -> None:
    with pytest.raises(ValueError, match="one direction per column"):
        pareto.front([(1, 2)], (True,))
