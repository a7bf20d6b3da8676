"""All pairs of methods: letters, ranks, who may be the best; and summaries that do not rest on the mean."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.allpairs import all_pairs, letters, matrix_rows
from bench.analysis.replicates import ONE_CHECKPOINT, two_way, two_way_difference
from bench.analysis.robust import control_variate, dominance_rates, interquartile_mean, performance_profile
from bench.analysis.tradeoff.pairs import pairs_of

plain = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "plain_runs.py"))["run"]


def test_all_pairs_of_four_methods() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(40, 1))
    truth = {"base": 0.0, "good": 2.0, "twin": 2.0, "best": 4.0}
    runs = [plain(name, {"m": shared + mean + 0.3 * rng.normal(size=(40, 1))}) for name, mean in truth.items()]
    found = all_pairs(pairs_of(runs), "m")
    assert found.methods[0] == "best"
    assert found.methods[-1] == "base"
    assert found.maybe_best == ("best",)
    assert found.ranks == ((1, 1), (2, 3), (2, 3), (4, 4))
    assert found.letters == ("a", "b", "b", "c")
    assert matrix_rows(found)[0] == ["", "+", "+", "+"]
    assert matrix_rows(found)[3] == ["-", "-", "-", ""]


def test_letters_are_shared_exactly_by_those_that_do_not_differ() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        half = np.triu(rng.random((6, 6)) < 0.4, 1)
        different = half | half.T
        found = letters(different)
        for i in range(6):
            for j in range(6):
                if i != j:
                    assert bool(set(found[i]) & set(found[j])) != different[i, j]


def test_interquartile_mean_ignores_a_few_prompts() -> None:
    values = np.arange(16.0)
    found = interquartile_mean(values)
    assert found.mean == pytest.approx(7.5)
    assert found.low < 7.5 < found.high
    values[0], values[-1] = -1e6, 1e6
    assert interquartile_mean(values).mean == pytest.approx(7.5)
    assert math.isnan(interquartile_mean([1.0, 2.0]).low)


def test_performance_profile_falls_from_one_to_nothing() -> None:
    found = performance_profile(np.linspace(0, 1, 33), [-1.0, 0.5, 2.0])
    assert found.share == pytest.approx([1, 17 / 33, 0])
    assert (found.low < found.high).all()


def test_joint_dominance_and_collapse() -> None:
    base = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    method = [[1.0, 1.0, -1.0, 0.0], [0.0, -1.0, -1.0, math.nan]]
    found = dominance_rates(base, method, [0, 1, 2, 3], ("a", "b"), (True, True))
    assert (found.dominates.mean, found.dominated.mean) == pytest.approx((1 / 3, 1 / 3))
    assert found.dominates.n_unscored == 1
    turned = dominance_rates(base, method, [0, 1, 2, 3], ("a", "b"), (False, False))
    assert turned.dominates.mean == found.dominated.mean


def test_a_control_variate_narrows_the_interval_and_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    held, narrower = 0, 0
    for _ in range(200):
        hard = rng.normal(size=1032)
        base, mine = hard + 0.3 * rng.normal(size=1032), hard[:32] + 0.5 + 0.3 * rng.normal(size=32)
        found = control_variate(mine, base[:32], base[32:])
        held += found.low <= 0.5 <= found.high
        narrower += found.high - found.low < 4 * mine.std() / math.sqrt(32) * 0.7
    assert 182 <= held <= 199
    assert narrower > 190


def test_replicates_say_what_one_checkpoint_cannot() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 1)) + rng.normal(size=(1, 40)) + 0.2 * rng.normal(size=(3, 40))
    several, one = two_way(values), two_way(values[:1])
    assert one.interval().reason == ONE_CHECKPOINT
    assert several.interval().reason is None
    assert several.interval().high - several.interval().low > one.interval().high - one.interval().low
    low, high = several.limits(1 - several.p(1.0))
    assert min(abs(low - 1), abs(high - 1)) < 1e-6
    assert two_way_difference(values, values[:1]).mean == pytest.approx(float(values[0].mean() - values.mean()))
    with pytest.raises(ValueError, match="same prompts"):
        two_way_difference(values, values[:, :5])
