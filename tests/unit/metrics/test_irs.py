"""The image retrieval score: the likelihood by brute force, worlds with a known number of reachable images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import metrics
from metrics.set.irs import reachable, retrieved
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import picture


def log_likelihood(s: int, distinct: int, draws: int) -> float:
    return math.lgamma(s + 1) - math.lgamma(s - distinct + 1) - draws * math.log(s)


@pytest.mark.parametrize(("draws", "most"), [(5, 40), (30, 200), (200, 90)])
def test_the_most_likely_number_is_found(draws: int, most: int) -> None:
    for distinct in range(1, min(draws, most) + 1):
        values = [log_likelihood(s, distinct, draws) for s in range(distinct, most + 1)]
        found = values[reachable(distinct, draws, most) - distinct]
        assert found == pytest.approx(max(values), abs=1e-9 * max(1.0, abs(max(values))))


def test_a_known_world_is_told() -> None:
    rng = np.random.default_rng(3)
    estimates = [reachable(len(set(rng.integers(0, 300, 1500).tolist())), 1500, 10_000) for _ in range(50)]
    assert np.mean(estimates) == pytest.approx(300, rel=0.01)


def test_nearest_is_by_cosine() -> None:
    real = np.array([[1.0, 0.0], [0.0, 100.0], [-1.0, 0.0]])
    fake = np.array([[2.0, 0.1], [5.0, -0.1], [0.1, 0.2]])
    assert retrieved(fake, real) == 2


def test_the_metric(weights: Any) -> None:
    metric = metrics.load("irs", weights=weights["fd_dinov2"])
    check_card(metrics.load("irs", weights=weights["fd_dinov2"]))
    real = metric.statistics([picture(seed) for seed in range(12)])
    one = metric.statistics([picture(3)] * 6)
    assert metric.distance(one, real) == pytest.approx(1 / 12)
    assert metric.distance(real, real) == 1.0  # each retrieves itself: an upper bound
    assert any("upper bound" in note for note in metric.notes(12))
    assert math.isnan(metric.distance(metric.statistics([picture(0)]), real))
