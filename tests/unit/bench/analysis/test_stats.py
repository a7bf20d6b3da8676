"""The statistics: known answers, invariances, and coverage by simulation."""

from __future__ import annotations

import math
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis import stats


def test_mean_is_the_plain_mean_of_units() -> None:
    found = stats.clustered_bootstrap([1.0, 2.0, 3.0, 10.0], ["a", "a", "a", "b"])
    assert found.mean == 4.0
    assert (found.n, found.n_unscored, found.clusters) == (4, 0, 2)
    assert found.low <= 4.0 <= found.high


def test_same_seed_same_numbers_whatever_the_order() -> None:
    rng = np.random.default_rng(3)
    values, clusters = rng.normal(size=200), np.repeat(np.arange(40), 5)
    order = rng.permutation(200)
    first = stats.clustered_bootstrap(values, clusters, seed=7)
    again = stats.clustered_bootstrap(values[order], clusters[order], seed=7)
    assert (again.low, again.high) == pytest.approx((first.low, first.high), rel=1e-12)
    assert stats.clustered_bootstrap(values, clusters, seed=8).low != first.low


def test_chunks_do_not_change_the_kind_of_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(size=200), np.repeat(np.arange(40), 5)
    whole = stats.clustered_bootstrap(values, clusters)
    monkeypatch.setattr(stats, "_CELLS", 40 * 100)
    chunked = stats.clustered_bootstrap(values, clusters)
    assert chunked.low == pytest.approx(whole.low, abs=0.02)
    assert chunked.high == pytest.approx(whole.high, abs=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_counted_not_averaged(bad: float) -> None:
    found = stats.clustered_bootstrap([1.0, bad, 3.0, bad], [0, 0, 1, 2])
    assert found.mean == 2.0
    assert (found.n, found.n_unscored, found.clusters) == (2, 2, 2)


def test_nothing_scored_is_nan_with_a_reason() -> None:
    found = stats.clustered_bootstrap([math.nan, math.nan], [0, 1])
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert (found.n, found.n_unscored) == (0, 2)
    assert found.reason == "no value could be scored"
    assert stats.clustered_bootstrap([], []).n == 0


def test_one_prompt_has_a_mean_but_no_interval() -> None:
    found = stats.clustered_bootstrap([1.0, 2.0], [5, 5])
    assert found.mean == 1.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert "one prompt" in (found.reason or "")
    assert not found.excludes_zero


def test_repeated_measures_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    prompts = rng.normal(size=50)
    once = stats.clustered_bootstrap(prompts, np.arange(50))
    copies = stats.clustered_bootstrap(np.repeat(prompts, 10), np.repeat(np.arange(50), 10))
    assert copies.high - copies.low == pytest.approx(once.high - once.low)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one length"):
        stats.clustered_bootstrap([1.0, 2.0], [0])


COVERAGE = runpy.run_path(str(Path(__file__).parents[4] / "benchmarks" / "interval_coverage.py"))
WORLDS = [world for world in COVERAGE["worlds"]() if world.prompts <= 100]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"{world.name}, {world.prompts} x {world.samples}")
def test_intervals_cover_the_truth_as_often_as_they_say(world: Any) -> None:
    """A small version of benchmarks/interval_coverage.py: 400 experiments leave 1.1 points of chance around 95 %."""
    share, made = COVERAGE["coverage"](world, trials=400, n_resamples=1000, seed=1)
    low, high = world.expected
    assert made == 1 or "of the sweep" in world.name  # only near the end of a sweep there may be no interval
    assert low - 0.02 <= share <= high + 0.015


def test_few_clusters_follow_the_skew_of_their_values() -> None:
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.0, 0.2, 0.1, 3.0])
    found = stats.clustered_bootstrap(values, np.arange(8))
    assert found.high - found.mean > 1.4 * (found.mean - found.low)
    turned = stats.clustered_bootstrap(-values, np.arange(8))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    even = stats.clustered_bootstrap([1.0, 2.0, 3.0, 4.0, 5.0], np.arange(5))
    half = stats.t_quantile(0.975, 4) * math.sqrt(2.5 / 5)
    assert (even.low, even.high) == pytest.approx((3 - half, 3 + half))
    assert stats.clustered_bootstrap([2.0, 2.0, 2.0], [0, 1, 2]).high == 2.0


def test_minimum_detectable_effect_is_found_with_its_power() -> None:
    rng = np.random.default_rng(6)
    found, trials = 0, 400
    for _ in range(trials):
        values = rng.normal(size=40)
        size = stats.minimum_detectable_effect(stats.clustered_bootstrap(values, np.arange(40), n_resamples=500))
        found += stats.clustered_bootstrap(rng.normal(size=40) + size, np.arange(40), n_resamples=500).low > 0
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


def test_paired_difference_sees_what_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    prompt = np.repeat(rng.normal(scale=5, size=30), 4)
    a, b = prompt + rng.normal(size=120), prompt + 0.8 + rng.normal(size=120)
    found = stats.paired_difference(a, b, np.repeat(np.arange(30), 4))
    assert found.interval.excludes_zero
    assert found.p < 0.01
    assert found.wins + found.ties + found.losses == 120
    assert found.win_rate > 0.5


def test_paired_difference_counts_pairs_that_lack_a_side() -> None:
    found = stats.paired_difference([1.0, math.nan, 2.0, 2.0], [2.0, 3.0, 2.0, 1.0], [0, 0, 1, 2])
    assert (found.interval.n, found.interval.n_unscored) == (3, 1)
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.win_rate == 0.5


def test_sign_flips_are_exact_for_few_clusters() -> None:
    assert stats.sign_flip_p([1.0, 1.0, 1.0]) == 2 / 8
    assert stats.sign_flip_p([0.0, 0.0]) == 1.0
    assert math.isnan(stats.sign_flip_p([]))


def test_sampled_sign_flips_are_never_zero_and_uniform_under_the_null() -> None:
    assert stats.sign_flip_p(np.ones(40), n_resamples=999) == pytest.approx(1 / 1000)
    rng = np.random.default_rng(4)
    ps = [stats.sign_flip_p(rng.normal(size=20), n_resamples=500, seed=i) for i in range(300)]
    assert 0.02 <= np.mean(np.asarray(ps) <= 0.05) <= 0.09


def test_sign_flips_of_many_columns_are_those_of_each() -> None:
    rng = np.random.default_rng(6)
    sums = rng.normal(0.2, 1, size=(40, 5))
    sums[30:, 1], sums[8:, 2], sums[:, 3], sums[:, 4] = math.nan, math.nan, math.nan, 0.0
    found = stats.sign_flip_ps(sums, n_resamples=20_000)
    assert found[0] == stats.sign_flip_p(sums[:, 0], n_resamples=20_000)
    assert found[1] == pytest.approx(stats.sign_flip_p(sums[:30, 1], n_resamples=20_000, seed=1), abs=0.02)
    assert found[2] == stats.sign_flip_p(sums[:8, 2])
    assert math.isnan(found[3])
    assert found[4] == 1


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
