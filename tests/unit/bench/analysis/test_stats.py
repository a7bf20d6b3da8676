"""What intervals share: detectable effects, quantiles, the jackknife, Holm's correction."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from bench.analysis import stats
from bench.analysis.intervals import mean_interval


def test_minimum_detectable_effect_is_found_with_its_power() -> None:
    rng = np.random.default_rng(6)
    found, trials = 0, 400
    for _ in range(trials):
        values = rng.normal(size=40)
        size = stats.minimum_detectable_effect(mean_interval(values, np.arange(40)))
        found += mean_interval(rng.normal(size=40) + size, np.arange(40)).low > 0
    assert 0.83 <= found / trials <= 0.95
    assert math.isnan(stats.minimum_detectable_effect(stats.Interval(1.0, math.nan, math.nan, 5)))


def test_clusters_to_decide() -> None:
    one = stats.Interval(1.0, 0.6, 1.4, 100, 0, 100)
    assert stats.clusters_to_decide(one, 0.9) > 16 * 100
    assert stats.clusters_to_decide(one, 0.9) == pytest.approx(4 * stats.clusters_to_decide(one, 0.8))
    assert stats.clusters_to_decide(one, 1.0) == math.inf
    assert math.isnan(stats.clusters_to_decide(stats.Interval(1.0, math.nan, math.nan, 5), 0.9))


@pytest.mark.parametrize(("freedom", "wanted"), [(1, 12.7062), (4, 2.7764), (10, 2.2281), (31, 2.0395), (1000, 1.9623)])
def test_t_quantile_against_the_table(freedom: int, wanted: float) -> None:
    assert stats.t_quantile(0.975, freedom) == pytest.approx(wanted, rel=1e-3)


def test_set_metrics_have_no_interval_without_blocks() -> None:
    found = stats.jackknife_interval(12.0, [], n=160)
    assert (found.mean, found.n) == (12.0, 160)
    assert math.isnan(found.low)
    assert "no interval" in (found.reason or "")


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(5).normal(size=20)
    left_out = (values.sum() - values) / 19
    found = stats.jackknife_interval(float(values.mean()), left_out, n=20)
    half = stats.t_quantile(0.975, 19) * values.std(ddof=1) / math.sqrt(20)
    assert found.high - found.mean == pytest.approx(half)


def test_independent_difference_adds_in_quadrature() -> None:
    a, b = stats.Interval(1.0, 0.7, 1.3, 10), stats.Interval(2.0, 1.6, 2.4, 10)
    found = stats.independent_difference(a, b)
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, 0.5, 1.5))


def test_holm_steps_down_and_keeps_nan() -> None:
    found = stats.holm([0.01, math.nan, 0.04, 0.03])
    assert found[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(found[1])


def test_imports_numpy_and_nothing_heavier() -> None:
    code = "import sys, bench.analysis.stats, bench.analysis.pareto; "
    code += "print([m for m in ('pandas', 'scipy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
