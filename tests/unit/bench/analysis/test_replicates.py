"""Intervals over checkpoints and prompts: right values, what one checkpoint cannot say, and what changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.analysis.bounded import Bounds
from bench.analysis.replicates import ONE_CHECKPOINT, blocks_two_way, two_way, two_way_difference


def values(seed: int = 3, seeds: int = 3, prompts: int = 40, spread: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = spread * rng.normal(size=(seeds, 1)), rng.normal(size=(1, prompts)), 0.2 * rng.normal(size=(seeds, prompts))
    return sum(parts)


def test_one_checkpoint_says_what_it_cannot() -> None:
    several, one = two_way(values()), two_way(values()[:1])
    assert one.interval().reason == ONE_CHECKPOINT
    assert two_way(values()[:1], trained=False).interval().reason is None
    assert several.interval().reason is None
    assert several.interval().high - several.interval().low > one.interval().high - one.interval().low


def test_the_half_width_is_that_of_a_plain_computation() -> None:
    """Symmetric values, so that Hall's correction does nothing: MOVER and Satterthwaite, written out."""
    half = values(prompts=20)
    array = np.concatenate([half, 2 * half.mean(axis=1, keepdims=True) - half], axis=1)
    s, p = array.shape
    by_seed, by_prompt, whole = array.mean(axis=1), array.mean(axis=0), array.mean()
    rest = array - by_seed[:, None] - by_prompt[None] + whole
    v_seed = by_seed.var(ddof=1) / s
    v_prompt = by_prompt.var(ddof=1) / p - (rest**2).sum() / ((s - 1) * (p - 1)) / (s * p)
    t = stats.t.ppf(0.975, [s - 1, p - 1])
    mover = math.sqrt(t[0] ** 2 * v_seed + t[1] ** 2 * v_prompt)
    freedom = (v_seed + v_prompt) ** 2 / (v_seed**2 / (s - 1) + v_prompt**2 / (p - 1))
    satterthwaite = stats.t.ppf(0.975, freedom) * math.sqrt(v_seed + v_prompt)
    low, high = two_way(array).limits()
    assert (high - low) / 2 == pytest.approx((mover + satterthwaite) / 2, rel=1e-6)
    low, high = two_way(array[:2]).limits()  # of two checkpoints MOVER alone
    assert (high - low) / 2 > 0.9 * t[0] * math.sqrt(v_seed)


def test_p_is_the_level_at_which_the_interval_just_excludes() -> None:
    several = two_way(values())
    low, high = several.limits(1 - several.p(1.0))
    assert min(abs(low - 1), abs(high - 1)) < 1e-6
    assert several.p(several.mean) == 1.0


def test_difference_of_methods() -> None:
    a = values()
    assert two_way_difference(a, a[:1]).mean == pytest.approx(float(a[0].mean() - a.mean()))
    with pytest.raises(ValueError, match="same prompts"):
        two_way_difference(a, a[:, :5])
    untrained = two_way_difference(a[:1], a, trained=(False, True))
    assert untrained.interval().reason is None
    assert two_way_difference(a[:1], a).interval().reason == ONE_CHECKPOINT


def test_order_of_checkpoints_and_prompts_and_a_constant_change_nothing() -> None:
    array = values(5)
    wanted = two_way(array).limits()
    assert two_way(array[::-1, ::-1]).limits() == pytest.approx(wanted)
    assert np.array(two_way(array + 4).limits()) - 4 == pytest.approx(wanted)
    assert two_way_difference(array + 4, values(6) + 4).limits() == pytest.approx(
        two_way_difference(array, values(6)).limits()
    )


def test_prompts_of_one_text_are_one() -> None:
    array = values(7)
    twice = np.concatenate([array, array], axis=1)
    labels = np.tile(np.arange(array.shape[1]), 2)
    assert two_way(twice, labels).limits() == pytest.approx(two_way(array).limits())
    alike = 0.01 * array  # checkpoints that hardly differ, so that prompts matter
    assert np.diff(two_way(alike + array[:1], labels[:40]).limits()) > np.diff(two_way(twice[:1]).limits())


def test_limits_stay_in_the_range_of_the_metric() -> None:
    shares = np.clip(0.98 + 0.05 * values(8), 0, 1)
    low, high = two_way(shares, bounds=Bounds(0.0, 1.0)).limits()
    assert 0 <= low < high <= 1
    same = two_way(np.ones((3, 20)), bounds=Bounds(0.0, 1.0)).interval()
    assert (same.mean, same.high) == (1, 1)
    assert same.low < 0.9


def test_set_metrics_are_by_students_t_over_blocks() -> None:
    blocks = values(9, seeds=1, prompts=12)
    found = blocks_two_way(blocks, 480)
    half = stats.t.ppf(0.975, 11) * blocks.std(ddof=1) / math.sqrt(12)
    assert found.limits() == pytest.approx((blocks.mean() - half, blocks.mean() + half))
    assert found.interval().n == 480
