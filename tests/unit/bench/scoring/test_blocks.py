"""Blocks that are left out in turn: which there are, their sums, and who makes the distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.scoring import blocks
from bench.scoring.blocks import distances, left_out_in_turn, sum_of
from metrics.set.frechet import frechet_distance
from metrics.set.moments import Moments
from tests.tolerance import FLOAT64, assert_close


def made(count: int, rows_each: int = 10, width: int = 3) -> list[Moments]:
    rows = np.random.default_rng(0).normal(size=(count * rows_each, width))
    return [Moments.of(rows[start : start + rows_each]) for start in range(0, len(rows), rows_each)]


class Plain:
    """A metric of a plug-in, which knows of no blocks."""

    def distance(self, a: Moments, b: Moments) -> float:
        return frechet_distance(a, b)


class Knowing(Plain):
    """A metric that makes all distances in one call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def leave_one_out(self, parts: Any, against: Moments) -> tuple[float, list[float]]:
        self.calls.append(len(parts))
        return 1.0, [2.0] * len(parts)


def test_sums_of_blocks() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    parts = made(4)
    assert_close(sum_of(parts).scatter, Moments.of(rows).scatter, FLOAT64)
    left = list(left_out_in_turn(parts))
    assert [part.n for part in left] == [30] * 4
    assert_close(left[1].mean, np.concatenate([rows[:10], rows[20:]]).mean(axis=0), FLOAT64)
    assert list(left_out_in_turn(parts[:2])) == []  # of two blocks nothing can be estimated


def test_narrow_features_are_compared_one_set_at_a_time() -> None:
    against, metric = made(1)[0], Knowing()
    assert distances(metric, made(4), against) == distances(Plain(), made(4), against)
    assert metric.calls == []


def test_a_metric_that_makes_all_distances_at_once_is_given_joined_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WIDE", 2)
    metric = Knowing()
    value, left_out = distances(metric, made(12), made(1)[0])
    assert (value, left_out) == (1.0, [2.0] * 6)
    assert metric.calls == [6]


def test_wide_features_of_a_plain_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WIDE", 2)
    value, left_out = distances(Plain(), made(12), made(1)[0])
    assert value == frechet_distance(sum_of(made(12)), made(1)[0])
    assert len(left_out) == 6
