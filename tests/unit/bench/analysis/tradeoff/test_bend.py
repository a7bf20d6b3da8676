"""Where a path bends: planted knees, and paths that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench.analysis.tradeoff.bend import bend_of
from bench.analysis.tradeoff.joint import Joint, joint_means

PATH = ("base", "50", "100", "150", "200")


def joint(quality: Sequence[float], diversity: Sequence[float], noise: float = 0.02, lower: bool = False) -> Joint:
    """The joint draws of 64 prompts around these means."""
    rng = np.random.default_rng(0)
    means = np.stack([np.array(quality), np.array(diversity) * (-1 if lower else 1)], axis=1)
    sums = means + noise * rng.standard_normal((64, len(quality), 2))
    found, draws = joint_means(sums, np.ones(sums.shape), 500, 0)
    return Joint(PATH[: len(quality)], ("q", "d"), (True, not lower), found, draws, 64)


@pytest.mark.parametrize("lower", [False, True])
def test_a_planted_knee_is_found(lower: bool) -> None:
    """Up to 100 quality comes free, from there on diversity pays."""
    bend = bend_of(joint([0, 0.4, 0.8, 0.9, 1.0], [1, 0.99, 0.97, 0.6, 0.2], lower=lower), PATH, "q", "d")
    assert (bend.method, bend.share, bend.reason) == ("100", 1.0, "")


def test_a_knee_that_hangs_on_the_prompts_says_so() -> None:
    bend = bend_of(joint([0, 0.5, 0.72, 0.9, 1.0], [1, 0.95, 0.73, 0.5, 0.2], noise=0.4), PATH, "q", "d")
    assert bend.method is not None
    assert 0.3 < bend.share < 0.97


@pytest.mark.parametrize(
    ("quality", "diversity", "said"),
    [
        ([0, 0.5, 1], [1, 0.9, 0.5], "needs at least 3 checkpoints beside the base, got 2"),
        ([0, 0, 0, 0, 0], [1, 0.9, 0.8, 0.7, 0.6], "q has not risen"),
        ([0, 0.2, 0.4, 0.6, 0.8], [1, 1, 1, 1, 1], "d has not fallen"),
        ([0, 0.1, 0.2, 0.3, 1.0], [1, 0.8, 0.6, 0.4, 0.2], "no checkpoint stands out"),
        ([0, float("nan"), 0.2, 0.3, 1.0], [1, 0.8, 0.6, 0.4, 0.2], "not every checkpoint has values of q and d"),
    ],
)
def test_a_path_without_a_bend(quality: list[float], diversity: list[float], said: str) -> None:
    bend = bend_of(joint(quality, diversity), PATH[: len(quality)], "q", "d")
    assert bend.method is None
    assert said in bend.reason
