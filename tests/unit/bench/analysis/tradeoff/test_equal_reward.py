"""Reading a sweep at an equal amount of the other metric, prices, and over-optimisation."""

from __future__ import annotations

import dataclasses
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.tradeoff import (
    Pairs,
    at_equal_diversity,
    at_equal_reward,
    index_difference,
    interpolate,
    over_optimisation,
    pairs_of,
    price,
    verdicts_of,
)
from bench.analysis.tradeoff.equal_reward import crossings_of
from bench.store.records import ScoreRow
from bench.store.runs import Run, read_run
from bench.store.select import display_names

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
plain = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "plain_runs.py"))["run"]
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


def plain_pairs(points: dict[str, tuple[float, float]], spread: float = 0.05, prompts: int = 60) -> Pairs:
    """Methods at true points, whose prompts share an effect."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(prompts, 1, 2))
    own = spread * rng.normal(size=(prompts, len(points), 2))
    values = np.asarray(list(points.values()))[None] + shared + own
    runs = [plain(name, {"reward": values[:, i, :1], "diversity": values[:, i, 1:]}) for i, name in enumerate(points)]
    return pairs_of(runs)


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


SWEEP = {"s0": (0.0, 4.0), "s1": (2.0, 3.0), "s2": (4.0, 0.0)}


def test_diversity_at_equal_reward_and_back() -> None:
    """The line is 0.5 above the method; settings say only that the curve lies between 0 and 3 there."""
    pairs = plain_pairs({**SWEEP, "refl": (3, 1)})
    found = at_equal_reward(pairs, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert found.difference.mean == pytest.approx(0.5, abs=0.06)
    assert found.value == pytest.approx(pairs.mean("refl", "diversity") + 0.5, abs=0.06)
    assert (found.difference.low, found.difference.high) == pytest.approx((-1, 2), abs=0.1)
    assert not found.difference.excludes_zero
    assert found.p == 1
    back = at_equal_diversity(pairs, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert back.difference.mean == pytest.approx(1 / 3, abs=0.06)


def test_a_method_that_dominates_a_setting_is_better_than_any_curve_through_it() -> None:
    pairs = plain_pairs({**SWEEP, "good": (2.5, 3.5), "bad": (1.5, 2.5)})
    good, bad = (at_equal_reward(pairs, list(SWEEP), name, "reward", "diversity") for name in ("good", "bad"))
    assert good.difference.high < 0 < bad.difference.low
    assert max(good.p, bad.p) < 0.001


def test_directions_turn_the_limits() -> None:
    """The same world with a cost in place of a diversity: limits and sign are turned."""
    rng = np.random.default_rng(3)
    points = {**SWEEP, "good": (2.5, 3.5)}
    noise = 0.05 * rng.normal(size=(40, len(points), 2))
    values = np.asarray(list(points.values()))[None] + noise
    up = pairs_of([plain(n, {"x": values[:, i, :1], "y": values[:, i, 1:]}) for i, n in enumerate(points)])
    runs = [plain(n, {"x": values[:, i, :1], "y": -values[:, i, 1:]}) for i, n in enumerate(points)]
    lower = [
        dataclasses.replace(run, metrics={**run.metrics, "y": dataclasses.replace(run.metrics["y"], direction="lower")})
        for run in runs
    ]
    one, other = (at_equal_reward(pairs, list(SWEEP), "good", "x", "y") for pairs in (up, pairs_of(lower)))
    assert (other.difference.low, other.difference.high) == pytest.approx((-one.difference.high, -one.difference.low))
    assert other.p == pytest.approx(one.p)


def test_outside_of_the_sweep_is_nan_with_a_reason() -> None:
    pairs = plain_pairs({"s0": (0, 4), "s1": (2, 3), "refl": (3, 1)})
    found = at_equal_reward(pairs, ["s0", "s1"], "refl", "reward", "diversity")
    assert math.isnan(found.difference.mean)
    assert found.difference.reason == "the sweep does not reach the reward of refl"


def test_several_places_and_no_trade_off_are_told() -> None:
    pairs = plain_pairs({"s0": (0, 4), "s1": (4, 3), "s2": (1, 0), "refl": (2, 1)})
    found = at_equal_reward(pairs, ["s0", "s1", "s2"], "refl", "reward", "diversity")
    assert found.crossings == 2
    assert math.isnan(found.value)
    assert found.difference.reason == "the sweep has the reward of refl at 2 places of its curve: no one value"
    rising = plain_pairs({"s0": (0, 1), "s1": (4, 3), "refl": (2, 1)})
    assert "no trade-off" in str(at_equal_reward(rising, ["s0", "s1"], "refl", "reward", "diversity").difference.reason)


def test_at_the_end_of_a_sweep_one_side_is_open() -> None:
    """The reference is the sweep's last setting but for noise: no setting surely has more reward."""
    pairs = plain_pairs({"s0": (0, 4), "s1": (2, 2), "refl": (1.995, 3)})
    found = at_equal_reward(pairs, ["s0", "s1"], "refl", "reward", "diversity")
    assert found.difference.low == -math.inf
    assert found.difference.high == pytest.approx(1, abs=0.1)
    assert not found.difference.excludes_zero


def test_who_is_surely_on_the_front() -> None:
    pairs = plain_pairs({"a": (1, 4), "b": (3, 3), "c": (4, 1), "d": (2, 2), "e": (3.0001, 3)})
    found = verdicts_of(pairs, pairs.methods, ("reward", "diversity"))
    assert found["a"] == found["c"] == "surely on the front"
    assert found["d"] == "surely dominated"
    assert "surely dominated" not in (found["b"], found["e"])  # they are equal
    assert verdicts_of(pairs, ["d"], ("reward", "diversity")) == {"d": "surely on the front"}


def test_price_is_the_loss_per_unit_of_reward() -> None:
    pairs = plain_pairs({"base": (0, 4), "refl": (3, 1), "twin": (0, 3)})
    found = price(pairs, "refl", "base", "reward", "diversity")
    assert found.mean == pytest.approx(1, abs=0.02)
    assert found.low < found.mean < found.high < 1.05
    assert "did not rise significantly" in str(price(pairs, "twin", "base", "reward", "diversity").reason)


def test_a_metric_that_one_run_lacks_has_no_price() -> None:
    pairs = plain_pairs({"base": (0, 4), "refl": (3, 1)})
    del pairs.run("refl").metrics["diversity"]
    found = price(pairs, "refl", "base", "reward", "diversity")
    assert math.isnan(found.mean)
    assert found.reason == "diversity is not scored for both"
    assert np.isnan(pairs.changes("base", "refl", "diversity")[0]).all()


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
    found = {one.method: one for one in over_optimisation(runs, display_names(runs), "base")}
    assert set(found) == {"refl", "draft"}  # hpsv2 itself was not scored for imagerefl
    assert found["refl"].trained_on == ("pickscore",)
    assert found["refl"].held_out == ("image_reward", "hpsv2.1", "attribute_accuracy")
    assert found["draft"].index.mean > found["refl"].index.mean
    assert found["draft"].gains["image_reward"].mean < 0 < found["draft"].in_gain.low
    assert found["draft"].difference.mean == pytest.approx(
        found["draft"].in_gain.mean - found["draft"].held_out_gain.mean
    )


def test_indices_differ_by_what_their_difference_says(runs: list[Run]) -> None:
    found = {one.method: one for one in over_optimisation(runs, display_names(runs), "base")}
    difference = index_difference(found["refl"], found["draft"])
    assert difference.mean == pytest.approx(found["draft"].index.mean - found["refl"].index.mean)
    assert difference.low < difference.mean < difference.high
    assert index_difference(found["refl"], found["refl"]).mean == 0


def test_a_metric_that_the_base_nearly_always_fulfils_does_not_blow_up(tmp_path: Path) -> None:
    """The base has 1.0 but for one image of 120; the method 0.5 in half of its images: a loss of a quarter."""
    stores = [make(tmp_path, method, prompts=24, metrics=("pickscore",)) for method in ("base", "refl")]
    for store, worse in zip(stores, (lambda i: i == 0, lambda i: i % 2), strict=True):
        rows = [ScoreRow(f"p{i // 5:04d}", i % 5, 0.5 if worse(i) else 1.0) for i in range(120)]
        store.append_scores("attribute_accuracy", rows, card("attribute_accuracy"))
    pair = [read_run(store) for store in stores]
    (found,) = over_optimisation(pair, display_names(pair), "base")
    assert list(found.gains) == ["pickscore", "attribute_accuracy"]
    assert -2 < found.gains["attribute_accuracy"].mean < -1  # in deviations of the base alone it would be -5
    assert found.held_out_gain.mean == found.gains["attribute_accuracy"].mean


def test_another_version_of_the_trained_reward_is_not_held_out(runs: list[Run]) -> None:
    relabelled = [*runs[:3], dataclasses.replace(runs[3], trained_on=("hpsv2", "pickscore"))]
    found = {one.method: one for one in over_optimisation(relabelled, display_names(runs), "base")}
    assert found["imagerefl"].held_out == ("image_reward", "attribute_accuracy")


def test_no_index_without_a_gain_in_the_trained_reward(tmp_path: Path) -> None:
    worse = {**MEANS["base"], "pickscore": MEANS["base"]["pickscore"] - 1}
    pair = [
        read_run(make(tmp_path, "base", prompts=12)),
        read_run(make(tmp_path, "refl", prompts=12, means=worse, trained_on=["pickscore"])),
    ]
    (found,) = over_optimisation(pair, display_names(pair), "base")
    assert math.isnan(found.index.mean)
    assert found.index.reason == "pickscore did not rise significantly over base"
    assert found.difference.mean < 0
