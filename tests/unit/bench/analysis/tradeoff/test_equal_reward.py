"""Reading a sweep at an equal amount of the other metric, prices, and over-optimisation."""

from __future__ import annotations

import dataclasses
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.tradeoff import (
    at_equal_diversity,
    at_equal_reward,
    interpolate,
    joint_bootstrap,
    over_optimisation,
    price,
)
from bench.analysis.tradeoff.equal_reward import crossings_of
from bench.analysis.tradeoff.joint import Joint, joint_means
from bench.store.records import ScoreRow
from bench.store.runs import Run, read_run

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


def joint_of(points: dict[str, tuple[float, float]], spread: float = 0.05, prompts: int = 60) -> Joint:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(prompts, 1, 2))
    own = spread * rng.normal(size=(prompts, len(points), 2))
    values = np.asarray(list(points.values()))[None] + shared + own
    means, draws = joint_means(values, np.ones_like(values))
    return Joint(tuple(points), ("reward", "diversity"), (True, True), means, draws, prompts)


def test_interpolation_is_straight_and_never_extrapolates() -> None:
    found = [float(interpolate([1.0, 2.0, 3.0], [10.0, 40.0, 30.0], at)) for at in (1.0, 1.5, 2.0, 2.5, 3.0, 0.9, 3.1)]
    assert found[:5] == [10, 25, 40, 35, 30]
    assert all(math.isnan(one) for one in found[5:])
    assert float(interpolate([3.0, 2.0, 1.0], [30.0, 40.0, 10.0], 1.5)) == 25


def test_a_curve_follows_the_settings_and_not_the_metric() -> None:
    """A sweep that turns back: 1.5 lies on the way up and on the way back, never between 1 and 2 of other settings."""
    x, y = [1.0, 3.0, 2.0], [10.0, 30.0, 0.0]
    assert float(interpolate(x, y, 1.5)) == 15  # by the order of x it would be 5, on a line that no setting is on
    assert float(interpolate(x, y, 2.5)) == 25
    assert float(interpolate(x, y, 2.5, near=1.4)) == 15
    assert crossings_of(x, 2.5) == [0.75, 1.5]
    assert crossings_of(x, 3.0) == [1.0]  # the turning point is one place
    assert crossings_of(x, 3.5) == []


def test_interpolation_of_many_curves_at_once_agrees_with_numpy() -> None:
    rng = np.random.default_rng(1)
    x, y, at = np.sort(rng.normal(size=(50, 6)), axis=1), rng.normal(size=(50, 6)), rng.normal(size=50) * 0.5
    wanted = [np.interp(t, a, b, left=np.nan, right=np.nan) for a, b, t in zip(x, y, at, strict=True)]
    assert interpolate(x, y, at) == pytest.approx(np.asarray(wanted), nan_ok=True)


def test_points_without_a_value_are_not_on_the_curve() -> None:
    assert float(interpolate([1.0, math.nan, 3.0], [1.0, 9.0, 3.0], 2.0)) == 2.0
    assert float(interpolate([1.0, 2.0, 3.0], [1.0, math.nan, 3.0], 2.0)) == 2.0
    assert math.isnan(float(interpolate([math.nan], [math.nan], 2.0)))
    assert float(interpolate([2.0], [5.0], 2.0)) == 5.0


def test_diversity_at_equal_reward_and_back() -> None:
    joint = joint_of({"s0": (0, 4), "s1": (2, 3), "s2": (4, 0), "refl": (3, 1)})
    found = at_equal_reward(joint, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert found.value.mean == pytest.approx(joint.means[3, 1] + 0.5, abs=0.06)
    assert found.difference.mean == pytest.approx(0.5, abs=0.06)
    assert found.difference.excludes_zero
    assert found.difference.low < 0.5 < found.difference.high
    assert found.inside == 1
    # The prompts move curve and point together: the difference is far surer than the value itself.
    assert found.difference.high - found.difference.low < 0.5 * (found.value.high - found.value.low)
    back = at_equal_diversity(joint, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert back.difference.mean == pytest.approx(1 / 3, abs=0.06)


def test_outside_of_the_sweep_is_nan_with_a_reason() -> None:
    found = at_equal_reward(
        joint_of({"s0": (0, 4), "s1": (2, 3), "refl": (3, 1)}), ["s0", "s1"], "refl", "reward", "diversity"
    )
    assert math.isnan(found.difference.mean)
    assert found.difference.reason == "the sweep does not reach the reward of refl"
    assert found.inside == 0


def test_several_places_at_equal_reward_are_told() -> None:
    joint = joint_of({"s0": (0, 4), "s1": (4, 3), "s2": (1, 0), "refl": (2, 1)})
    found = at_equal_reward(joint, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert found.crossings == 2
    assert math.isnan(found.value.mean)
    assert found.difference.reason == "the sweep has the reward of refl at 2 places of its curve: no one value"


def test_at_the_end_of_a_sweep_there_is_no_interval() -> None:
    """The reference is the sweep's last setting but for noise: about half of the resamples do not reach it."""
    joint = joint_of({"s0": (0, 4), "s1": (2, 2), "refl": (1.995, 3)})
    found = at_equal_reward(joint, ["s0", "s1"], "refl", "reward", "diversity")
    assert 0.2 < found.inside < 0.975
    assert found.difference.mean == pytest.approx(-1, abs=0.1)
    assert math.isnan(found.difference.low)
    assert not found.difference.excludes_zero
    told = f"the sweep reaches the reward of refl in {found.inside:.0%} of the resamples: no interval"
    assert found.difference.reason == found.value.reason == told


def test_price_is_the_loss_per_unit_of_reward() -> None:
    joint = joint_of({"base": (0, 4), "refl": (3, 1), "twin": (0, 3)})
    found = price(joint, "refl", "base", "reward", "diversity")
    assert found.mean == pytest.approx(1, abs=0.02)
    assert found.low < found.mean < found.high < 1.05
    assert "did not surely rise" in str(price(joint, "twin", "base", "reward", "diversity").reason)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("over")
    hacked = {
        **MEANS["refl"],
        "image_reward": MEANS["base"]["image_reward"] - 0.3,
        "hpsv2.1": MEANS["base"]["hpsv2.1"] - 0.01,
    }
    return [
        read_run(make(folder, "base", prompts=24)),
        read_run(make(folder, "refl", prompts=24)),
        read_run(make(folder, "draft", prompts=24, means=hacked, trained_on=["pickscore"])),
        read_run(make(folder, "imagerefl", prompts=24, trained_on=["hpsv2"])),
    ]


def test_over_optimisation_shows_in_the_held_out_metrics(runs: list[Run]) -> None:
    found = {one.method: one for one in over_optimisation(joint_bootstrap(runs), runs, "base")}
    assert set(found) == {"refl", "draft"}  # hpsv2 itself was not scored for imagerefl
    assert found["refl"].trained_on == ("pickscore",)
    assert found["refl"].held_out == ("image_reward", "hpsv2.1", "attribute_accuracy")
    assert found["draft"].index.mean > found["refl"].index.mean
    assert found["draft"].gains["image_reward"].high < 0 < found["draft"].in_gain.low
    assert found["draft"].difference.mean == pytest.approx(
        found["draft"].in_gain.mean - found["draft"].held_out_gain.mean
    )


def test_a_metric_that_the_base_nearly_always_fulfils_does_not_blow_up(tmp_path: Path) -> None:
    """The base has 1.0 but for one image of 120; the method 0.5 in half of its images: a loss of a quarter."""
    stores = [make(tmp_path, method, prompts=24, metrics=("pickscore",)) for method in ("base", "refl")]
    for store, worse in zip(stores, (lambda i: i == 0, lambda i: i % 2), strict=True):
        rows = [ScoreRow(f"p{i // 5:04d}", i % 5, 0.5 if worse(i) else 1.0) for i in range(120)]
        store.append_scores("attribute_accuracy", rows, card("attribute_accuracy"))
    pair = [read_run(store) for store in stores]
    (found,) = over_optimisation(joint_bootstrap(pair), pair, "base")
    assert list(found.gains) == ["pickscore", "attribute_accuracy"]
    assert -2 < found.gains["attribute_accuracy"].mean < -1  # in deviations of the base alone it would be -5
    assert found.held_out_gain.mean == found.gains["attribute_accuracy"].mean


def test_another_version_of_the_trained_reward_is_not_held_out(runs: list[Run]) -> None:
    relabelled = [*runs[:3], dataclasses.replace(runs[3], trained_on=("hpsv2", "pickscore"))]
    found = {one.method: one for one in over_optimisation(joint_bootstrap(runs), relabelled, "base")}
    assert found["imagerefl"].held_out == ("image_reward", "attribute_accuracy")


def test_no_index_without_a_gain_in_the_trained_reward(tmp_path: Path) -> None:
    worse = {**MEANS["base"], "pickscore": MEANS["base"]["pickscore"] - 1}
    pair = [
        read_run(make(tmp_path, "base", prompts=12)),
        read_run(make(tmp_path, "refl", prompts=12, means=worse, trained_on=["pickscore"])),
    ]
    (found,) = over_optimisation(joint_bootstrap(pair), pair, "base")
    assert math.isnan(found.index.mean)
    assert found.index.reason == "pickscore did not surely rise over base"
    assert found.difference.mean < 0
