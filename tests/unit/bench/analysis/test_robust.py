"""Summaries that do not rest on the mean, and the control variate: right values, and limits that hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.analysis.bounded import Bounds
from bench.analysis.robust import control_variate, dominance_rates, interquartile_mean, performance_profile


def test_interquartile_mean_ignores_a_few_prompts() -> None:
    values = np.arange(16.0)
    found = interquartile_mean(values)
    assert found.mean == pytest.approx(stats.trim_mean(values, 0.25)) == 7.5
    assert found.low < 7.5 < found.high
    values[0], values[-1] = -1e6, 1e6
    assert interquartile_mean(values).mean == pytest.approx(7.5)
    assert math.isnan(interquartile_mean([1.0, 2.0]).low)
    assert interquartile_mean([*values, math.nan]).n_unscored == 1


def test_interquartile_mean_is_the_same_in_any_order_and_moves_with_a_constant() -> None:
    values = np.random.default_rng(0).normal(size=30)
    found, again = interquartile_mean(values), interquartile_mean(values[::-1] + 3)
    assert (again.mean - 3, again.low - 3, again.high - 3) == pytest.approx((found.mean, found.low, found.high))


def test_prompts_of_one_text_count_once_in_an_interval() -> None:
    values = np.random.default_rng(1).normal(size=24)
    twice, labels = np.tile(values, 2), np.tile(np.arange(24), 2)
    once, both = interquartile_mean(values), interquartile_mean(twice, labels)
    assert both.mean == pytest.approx(once.mean)
    assert both.high - both.low == pytest.approx(once.high - once.low, rel=0.15)
    assert interquartile_mean(twice).high - interquartile_mean(twice).low < 0.8 * (both.high - both.low)
    profile, plain = performance_profile(twice, [0.0], labels), performance_profile(values, [0.0])
    assert profile.share == pytest.approx(plain.share)
    assert profile.high - profile.low == pytest.approx(plain.high - plain.low, rel=0.3)


def test_limits_of_a_bounded_metric_stay_in_its_range() -> None:
    values = np.r_[np.ones(12), np.linspace(0.5, 0.9, 20)]
    assert interquartile_mean(values, bounds=Bounds(0.0, 1.0)).high <= 1


def test_performance_profile_has_the_limits_of_clopper_and_pearson() -> None:
    found = performance_profile(np.linspace(0, 1, 33), [-1.0, 0.5, 2.0])
    assert found.share == pytest.approx([1, 17 / 33, 0])
    wanted = stats.binomtest(17, 33).proportion_ci(0.95, "exact")
    assert (found.low[1], found.high[1]) == pytest.approx((wanted.low, wanted.high))
    assert (found.high[0], found.low[2]) == (1, 0)
    assert (found.low < found.high).all()


def test_joint_dominance_and_collapse() -> None:
    base = np.zeros((2, 4, 1))
    method = np.array([[1.0, 1.0, -1.0, 0.0], [0.0, -1.0, -1.0, math.nan]])[:, :, None]
    found = dominance_rates(base, method, [0, 1, 2, 3], ("a", "b"), (True, True))
    assert (found.dominates.mean, found.dominated.mean) == pytest.approx((1 / 3, 1 / 3))
    assert (found.dominates.n, found.dominates.n_unscored) == (3, 1)
    turned = dominance_rates(base, method, [0, 1, 2, 3], ("a", "b"), (False, False))
    assert turned.dominates.mean == found.dominated.mean


def test_dominance_is_that_of_a_loop_over_images_and_does_not_move_with_a_constant() -> None:
    rng = np.random.default_rng(2)
    base, method = rng.integers(0, 3, (3, 20, 4)).astype(float), rng.integers(0, 3, (3, 20, 4)).astype(float)
    wins = 0
    for p in range(20):
        for s in range(4):
            gap = method[:, p, s] - base[:, p, s]
            wins += bool((gap >= 0).all() and (gap > 0).any())
    found = dominance_rates(base, method, np.arange(20), ("a", "b", "c"), (True,) * 3)
    assert found.dominates.mean == pytest.approx(wins / 80)
    assert found == dominance_rates(base + 5, method + 5, np.arange(20), ("a", "b", "c"), (True,) * 3)
    alike = dominance_rates(base, base, np.arange(20), ("a", "b", "c"), (True,) * 3)
    assert alike.dominates.mean == 0 == alike.dominated.mean
    assert alike.dominates.high > 0  # equal in 20 prompts is not equal in all


def test_a_control_variate_narrows_the_interval_and_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    held, narrower = 0, 0
    for _ in range(200):
        hard = rng.normal(size=1032)
        base, mine = hard + 0.3 * rng.normal(size=1032), hard[:32] + 0.5 + 0.3 * rng.normal(size=32)
        found = control_variate(mine, base[:32], base)
        assert found is not None
        held += found.low <= 0.5 <= found.high
        narrower += found.high - found.low < 4 * mine.std() / math.sqrt(32) * 0.7
    assert 182 <= held <= 199
    assert narrower > 190


def test_a_control_variate_is_the_regression_estimator() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=400)
    mine = 2 * base[:50] + 1 + 0.1 * rng.normal(size=50)
    line = stats.linregress(base[:50], mine)
    found = control_variate(mine, base[:50], base)
    assert found is not None
    assert found.mean == pytest.approx(line.intercept + line.slope * base.mean())


def test_no_control_variate_where_it_does_not_help() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(size=400)
    assert control_variate(rng.normal(size=50), base[:50], base) is None  # nothing in common
    assert control_variate(base[:5], base[:5], base) is None  # too few prompts
    assert control_variate(base[:50], base[:50], base[:50]) is None  # no others
    assert control_variate(base[:50], np.ones(50), base) is None  # the base does not vary
