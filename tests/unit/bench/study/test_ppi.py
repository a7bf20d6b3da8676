"""Prediction-powered means against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from bench.study.ppi import ppi_mean


def drawn(seed: int, n: int, many: int, quality: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n + many)
    score = quality * truth + math.sqrt(1 - quality**2) * rng.normal(size=n + many)
    return truth[:n], score[:n], score[n:]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_written_out_estimate(seed: int) -> None:
    y, f, g = drawn(seed, 40, 300, 0.7)
    found = ppi_mean(y, f, g)
    n, many = 40, 300
    weight = np.cov(y, f, bias=True)[0, 1] / n / (f.var() / n + g.var() / many)
    assert found.weight == pytest.approx(weight)
    rest = y - weight * f
    assert found.estimate.mean == pytest.approx(rest.mean() + weight * g.mean())
    # each row is its own rater and prompt, so that the variance is that of independent rows
    rows = np.concatenate([(rest - rest.mean()) / n * 39 / 38, weight * (g - g.mean()) / many])
    variance = (rows**2).sum() * (n + many) / (n + many - 1)
    half = student.ppf(0.975, 38) * math.sqrt(variance)
    assert found.estimate.high - found.estimate.mean == pytest.approx(half)


def test_the_classical_interval_is_students() -> None:
    y, f, g = drawn(0, 30, 100, 0.5)
    found = ppi_mean(y, f, g).classical
    half = student.ppf(0.975, 29) * y.std(ddof=1) / math.sqrt(30)
    assert (found.mean, found.high - found.mean) == pytest.approx((y.mean(), half))


def test_good_predictions_narrow_and_bad_ones_do_not_widen_much() -> None:
    def ratio(quality: float) -> float:
        widths = []
        for seed in range(40):
            found = ppi_mean(*drawn(seed, 60, 2000, quality))
            widths.append((found.estimate.high - found.estimate.low) / (found.classical.high - found.classical.low))
        return float(np.mean(widths))

    assert ratio(0.9) == pytest.approx(math.sqrt(1 - 0.81), abs=0.06)
    assert 0.95 < ratio(0.0) < 1.02


def test_predictions_that_point_the_wrong_way_are_not_used() -> None:
    y, f, g = drawn(1, 50, 500, 0.9)
    found = ppi_mean(y, -f, -g)
    assert found.weight == 0.0
    assert found.estimate == found.classical


def test_rows_of_one_prompt_count_together() -> None:
    y, f, g = drawn(2, 20, 200, 0.8)
    again = ppi_mean(
        np.repeat(y, 3),
        np.repeat(f, 3),
        np.repeat(g, 3),
        np.repeat(np.arange(20), 3),
        np.repeat(np.arange(20, 220), 3),
    )
    once = ppi_mean(y, f, g)
    assert again.estimate.mean == pytest.approx(once.estimate.mean)
    assert again.estimate.high == pytest.approx(once.estimate.high)


def test_a_prompt_may_have_both_kinds_of_rows() -> None:
    # all unlabelled rows belong to labelled prompts, with the same score: nothing is gained
    y, f, _ = drawn(3, 40, 1, 0.9)
    found = ppi_mean(y, f, f, np.arange(40), np.arange(40))
    assert found.weight == 0.0
    assert found.estimate == found.classical


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_labels_have_no_interval(n: int) -> None:
    y, f, g = drawn(4, n, 50, 0.9)
    found = ppi_mean(y, f, g)
    assert found.weight == 0.0
    assert math.isfinite(found.estimate.mean)
    assert math.isfinite(found.estimate.low) == (n == 2)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 labels and 2 predictions"):
        ppi_mean([1, 2, 3], [1, 2], [1])
    with pytest.raises(ValueError, match="need a prompt each"):
        ppi_mean([1, 2], [1, 2], [1], [0, 1], [0, 1])
