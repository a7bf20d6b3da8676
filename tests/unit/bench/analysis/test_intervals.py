"""Which limits are taken when: bounded metrics near a bound, equal values, identical pictures, missing values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaincinv

from bench.analysis.bounded import Bounds, bounded_limits
from bench.analysis.intervals import bounds_of, cluster_mean, mean_interval, paired_difference, rare_prompts

UNIT = Bounds(0.0, 1.0)


@pytest.mark.parametrize("n", [2, 5, 32, 400])
@pytest.mark.parametrize("failed", [0, 1, 2, 5])
def test_shares_of_zero_and_one_have_clopper_pearson_limits(n: int, failed: int) -> None:
    k = max(0, n - failed)
    low, high = bounded_limits(np.r_[np.ones(k), np.zeros(n - k)], np.ones(n), UNIT)
    wanted = (betaincinv(k, n - k + 1, 0.025) if k else 0.0, betaincinv(k + 1, n - k, 0.975) if k < n else 1.0)
    assert (low, high) == pytest.approx(wanted, abs=0.0035)
    assert low == 0 if k == 0 else low > 0


@pytest.mark.parametrize("failing", [0, 1, 3, 7])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.998])
def test_near_a_bound_interval_and_p_agree_and_stay_in_the_range(failing: int, level: float) -> None:
    values = np.ones(32)
    values[:failing] = np.linspace(0.2, 0.8, failing)
    found = cluster_mean(values, np.arange(32), UNIT)
    one = found.interval(level)
    assert 0 <= one.low < one.high <= 1
    assert found.p(one.low - 1e-5) < 1 - level < found.p(one.low + 1e-5)


def test_no_interval_of_a_bounded_metric_has_width_zero() -> None:
    ones = mean_interval(np.ones(32), np.arange(32), bounds=UNIT)
    assert ones.high == 1
    assert ones.low == pytest.approx(0.025 ** (1 / 32), abs=1e-3)
    zeros = mean_interval(np.zeros(32), np.arange(32), bounds=UNIT)
    assert zeros.low == 0 < zeros.high
    equal = mean_interval(np.full(8, 3.0), np.arange(8))
    assert math.isnan(equal.low)
    assert "same value" in str(equal.reason)


def test_far_from_the_bounds_the_range_changes_nothing_but_the_cut() -> None:
    values = np.random.default_rng(0).uniform(0.2, 0.9, size=40)
    assert mean_interval(values, np.arange(40), bounds=UNIT) == mean_interval(values, np.arange(40))
    spread = np.where(np.arange(10) < 9, 0.97, 0.0)
    assert mean_interval(spread, np.arange(10), bounds=UNIT).high <= 1
    assert mean_interval(spread, np.arange(10)).high > 1


def test_a_metric_with_one_bound_is_cut_there() -> None:
    found = mean_interval([0.0, 0.0, 0.0, 0.01, 0.4], np.arange(5), bounds=Bounds(0.0, math.inf))
    assert found.low == 0
    assert bounds_of({"low": 0.0, "high": None}) == Bounds(0.0, math.inf)
    assert bounds_of({}) is None


def test_few_prompts_that_differ_are_no_sure_difference() -> None:
    """One of 32 prompts lost half: a standard error of that prompt says nothing of prompts that were not drawn."""
    a, b = np.ones(32), np.ones(32)
    b[3] = 0.5
    found = paired_difference(a, b, np.arange(32), bounds=UNIT)
    assert found.interval.low < found.interval.mean < 0 < found.interval.high
    assert found.p == 1
    assert found.mde > 0.05
    same = paired_difference(a, a, np.arange(32), bounds=UNIT)
    assert same.interval.low < 0 < same.interval.high
    assert same.mde > 0


def test_differences_that_are_all_the_same_are_judged_by_the_sign_test() -> None:
    """All prompts fell by 0.2: a prompt that was not seen may have risen by as much."""
    values = np.random.default_rng(4).normal(size=40)
    found = paired_difference(values, values - 0.2, np.arange(40))
    assert found.interval.low == pytest.approx(-0.2)
    assert -0.2 < found.interval.high < -0.15
    assert found.interval.high > found.interval.low
    few = paired_difference(values[:4], values[:4] - 0.2, np.arange(4))
    assert few.interval.high > 0


def test_identical_pictures_differ_by_exactly_nothing() -> None:
    values = np.random.default_rng(1).normal(size=20)
    found = paired_difference(values, values, np.arange(20), identical=True)
    assert (found.interval.low, found.interval.mean, found.interval.high, found.p) == (0, 0, 0, 1)
    assert math.isnan(found.mde)


def test_win_rates_have_intervals_within_the_unit() -> None:
    rng = np.random.default_rng(2)
    a, where = rng.normal(size=160), np.repeat(np.arange(32), 5)
    all_won = paired_difference(a, a + 1, where)
    assert all_won.win is not None
    assert (all_won.win_rate, all_won.win.mean, all_won.win.high) == (1, 1, 1)
    assert 0.85 < all_won.win.low < 0.95
    some = paired_difference(a, a + rng.normal(0.3, 1, size=160), where)
    assert some.win is not None
    assert some.win.low < some.win_rate < some.win.high
    none = paired_difference([1.0, 2.0], [math.nan, math.nan], [0, 1])
    assert math.isnan(none.win_rate)


def test_paired_difference_sees_what_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    prompt = np.repeat(rng.normal(scale=5, size=30), 4)
    a, b = prompt + rng.normal(size=120), prompt + 0.8 + rng.normal(size=120)
    found = paired_difference(a, b, np.repeat(np.arange(30), 4))
    assert found.interval.excludes_zero
    assert found.p < 0.01
    assert found.wins + found.ties + found.losses == 120


def test_pairs_that_lack_a_side_are_counted() -> None:
    found = paired_difference([1.0, math.nan, 2.0, 2.0], [2.0, 3.0, 2.0, 1.0], [0, 0, 1, 2])
    assert (found.interval.n, found.interval.n_unscored) == (3, 1)
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.win_rate == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_counted_not_averaged(bad: float) -> None:
    found = mean_interval([1.0, bad, 3.0, bad], [0, 0, 1, 2])
    assert found.mean == 2.0
    assert (found.n, found.n_unscored, found.clusters) == (2, 2, 2)


def test_nothing_and_one_prompt_have_no_interval() -> None:
    nothing = mean_interval([math.nan, math.nan], [0, 1])
    assert math.isnan(nothing.mean)
    assert (nothing.n, nothing.n_unscored, nothing.reason) == (0, 2, "no value could be scored")
    one = mean_interval([1.0, 2.0], [5, 5])
    assert one.mean == 1.5
    assert math.isnan(one.low)
    assert "single prompt" in str(one.reason)
    assert not one.excludes_zero


def test_the_mean_is_of_units_and_copies_do_not_narrow_it() -> None:
    found = mean_interval([1.0, 2.0, 3.0, 10.0], ["a", "a", "a", "b"])
    assert (found.mean, found.n, found.clusters) == (4.0, 4, 2)
    prompts = np.random.default_rng(1).normal(size=50)
    once = mean_interval(prompts, np.arange(50))
    copies = mean_interval(np.repeat(prompts, 10), np.repeat(np.arange(50), 10))
    assert copies.high - copies.low == pytest.approx(once.high - once.low)
    with pytest.raises(ValueError, match="one length"):
        mean_interval([1.0, 2.0], [0])


def test_what_few_prompts_cannot_show() -> None:
    assert "rarer than 30% (3/n)" in rare_prompts(10)
    assert rare_prompts(30) == ""
    assert rare_prompts(1).startswith("1 prompt: most kinds of prompts cannot be seen")
