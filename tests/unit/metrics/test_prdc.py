"""Precision, recall, density and coverage against their definitions written out with loops, and known worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import metrics
from metrics.set.prdc import VALUES, prdc
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import picture


def by_loops(real: NDArray[Any], fake: NDArray[Any], k: int) -> dict[str, float]:
    def distance(x: Any, y: Any) -> float:
        return float(np.linalg.norm(x - y))

    def radius(rows: Any, index: int) -> float:
        return sorted(distance(rows[index], other) for place, other in enumerate(rows) if place != index)[k - 1]

    of_real = [radius(real, index) for index in range(len(real))]
    of_fake = [radius(fake, index) for index in range(len(fake))]
    pairs = [[distance(x, y) for y in fake] for x in real]
    n, m = len(real), len(fake)
    return {
        "precision": sum(any(pairs[i][j] < of_real[i] for i in range(n)) for j in range(m)) / m,
        "recall": sum(any(pairs[i][j] < of_fake[j] for j in range(m)) for i in range(n)) / n,
        "density": sum(pairs[i][j] < of_real[i] for i in range(n) for j in range(m)) / (k * m),
        "coverage": sum(min(pairs[i]) < of_real[i] for i in range(n)) / n,
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 30), st.integers(8, 30), st.integers(1, 6), st.floats(-2, 2))
def test_it_is_the_definition(seed: int, n: int, m: int, k: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + shift
    found = prdc(real, fake, k)
    assert set(found) == set(VALUES)
    assert found == pytest.approx(by_loops(real, fake, k), abs=1e-12)


def test_lost_modes_show_in_recall_and_strange_images_in_precision() -> None:
    rng = np.random.default_rng(0)
    modes = rng.normal(scale=50, size=(8, 16))
    real = (modes[:, None] + rng.normal(size=(8, 40, 16))).reshape(-1, 16)
    half = (modes[:4, None] + rng.normal(size=(4, 80, 16))).reshape(-1, 16)
    strange = np.concatenate([real[::2] + 0.1, rng.normal(scale=50, size=(160, 16)) + 500])
    whole = (modes[:, None] + rng.normal(size=(8, 40, 16))).reshape(-1, 16)
    same, lost, odd = prdc(real, whole), prdc(real, half), prdc(real, strange)
    assert same["recall"] > 0.9
    assert lost["recall"] < 0.55
    assert lost["coverage"] < 0.55 < same["coverage"]
    assert lost["precision"] > 0.85
    assert odd["precision"] == pytest.approx(0.5, abs=0.02)


def test_too_few_images_have_no_value() -> None:
    assert all(np.isnan(value) for value in prdc(np.eye(5), np.eye(5), k=5).values())
    assert not any(np.isnan(value) for value in prdc(np.eye(6), np.eye(6), k=5).values())


@pytest.mark.parametrize("name", ["prdc", "prdc_recall", "prdc_precision", "prdc_density"])
def test_the_metric_is_the_function(name: str, weights: Any) -> None:
    metric = metrics.load(name, weights=weights["fd_dinov2"], k=2)
    real, fake = [picture(seed) for seed in range(12)], [picture(seed) for seed in range(6, 16)]
    a, b = metric.statistics(fake[:4]) + metric.statistics(fake[4:]), metric.statistics(real)
    value = str(metric.card.settings["value"])
    assert metric.distance(a, b) == prdc(b.rows, a.rows, 2)[value]
    assert name == "prdc" or value == name.removeprefix("prdc_")
    assert "k = 2" in metric.card.title
    assert any("depends on their number" in note for note in metric.notes(10))
    assert metric.why_undefined(2) == "needs at least 3 images on each side"


def test_cards_and_options(weights: Any) -> None:
    check_card(metrics.load("prdc", weights=weights["fd_dinov2"]))
    check_card(metrics.load("prdc_recall", weights=weights["fd_dinov2"]))
    check_card(metrics.load("prdc_precision", weights=weights["fd_dinov2"]))
    check_card(metrics.load("prdc_density", weights=weights["fd_dinov2"]))
    clip = metrics.load("prdc", weights=weights["cmmd"], encoder="clip")
    assert "CLIP" in clip.card.title
    with pytest.raises(metrics.MetricError, match="k = 0 must be a whole number of at least 1"):
        metrics.load("prdc", weights=weights["fd_dinov2"], k=0)
    with pytest.raises(metrics.MetricError, match="value 'recal' is not one of coverage, recall"):
        metrics.load("prdc", weights=weights["fd_dinov2"], value="recal")
    with pytest.raises(metrics.MetricError, match="encoder 'vgg' is not one of dinov2"):
        metrics.load("prdc", weights=weights["fd_dinov2"], encoder="vgg")
