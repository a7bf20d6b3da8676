"""Means in closed form: known answers, invariances, and that interval and p never disagree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from bench.analysis.means import limits, mean_stats, one_sided, ratio_stats, two_sided

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.normal(size=40),
    "skewed": RNG.exponential(size=40),
    "turned": -RNG.exponential(size=12),
    "heavy": RNG.standard_t(2.1, size=32),
    "few": np.array([0.0, 0.1, 3.0]),
    "two": np.array([1.0, 2.0]),
}


def test_symmetric_values_have_students_interval_and_p() -> None:
    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0]) + 2
    low, high = limits(mean_stats(values))
    wanted = reference.ttest_1samp(values, 0)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert two_sided(mean_stats(values)) == pytest.approx(wanted.pvalue)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.998, 0.99999])
def test_interval_and_p_never_disagree(name: str, level: float) -> None:
    """p at a limit is 1 - level, so p < 1 - level exactly where the interval excludes a value."""
    found = mean_stats(SAMPLES[name])
    low, high = limits(found, level)
    assert low < found.mean < high
    above, below = one_sided(found, low)[0], one_sided(found, high)[1]
    assert (above, below) == pytest.approx(((1 - level) / 2, (1 - level) / 2), rel=1e-3)
    step = 1e-3 * (high - low)
    assert two_sided(found, low - step) < 1 - level < two_sided(found, low + step)
    assert two_sided(found, high + step) < 1 - level < two_sided(found, high - step)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_interval_is_never_inside_of_students(name: str) -> None:
    values = SAMPLES[name]
    low, high = limits(mean_stats(values))
    student = reference.ttest_1samp(values, 0).confidence_interval()
    assert low <= student.low + 1e-12
    assert high >= student.high - 1e-12


def test_the_long_side_is_that_of_the_tail() -> None:
    found = mean_stats(np.array([0.0, 0.1, 0.2, 0.1, 0.0, 0.2, 0.1, 3.0]))
    low, high = limits(found)
    assert high - found.mean > 1.4 * (found.mean - low)


def test_unit_sign_and_order_do_not_matter() -> None:
    values = SAMPLES["skewed"]
    low, high = limits(mean_stats(values))
    turned = limits(mean_stats(-3 * values[::-1] + 7))
    assert turned == pytest.approx((7 - 3 * high, 7 - 3 * low))


def test_many_means_at_once_are_those_of_each() -> None:
    values = np.random.default_rng(1).exponential(size=(5, 4, 30))
    low, high = limits(mean_stats(values))
    alone = limits(mean_stats(values[3, 2]))
    assert (low[3, 2], high[3, 2]) == pytest.approx(alone)


def test_equal_values_say_nothing() -> None:
    found = mean_stats([0.1 + 0.2, 0.3, 0.3])  # equal but for rounding
    assert math.isnan(found.error)
    assert all(math.isnan(limit) for limit in limits(found))
    with pytest.raises(ValueError, match="needs two"):
        mean_stats([1.0])


def test_clusters_of_one_size_are_their_means() -> None:
    values = np.random.default_rng(2).normal(size=(20, 5))
    assert limits(ratio_stats(values.sum(axis=1), np.full(20, 5))) == pytest.approx(
        limits(mean_stats(values.mean(axis=1)))
    )
