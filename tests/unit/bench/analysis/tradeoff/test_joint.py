"""The joint bootstrap: its cells are those of the table, differences are paired, set metrics keep their jackknife."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.stats import jackknife_interval
from bench.analysis.summary import metric_interval
from bench.analysis.tradeoff import joint_bootstrap
from bench.analysis.tradeoff.joint import Joint, joint_jackknife, joint_means
from bench.store.records import ScoreRow
from bench.store.runs import Run, read_run

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("joint")
    return [read_run(make(folder, method, prompts=32)) for method in ("base", "refl", "imagerefl")]


@pytest.fixture(scope="module")
def joint(runs: list[Run]) -> Joint:
    return joint_bootstrap(runs)


def test_cells_are_those_of_the_table(runs: list[Run], joint: Joint) -> None:
    assert joint.methods == ("base", "refl", "imagerefl")
    for run, name in zip(runs, joint.methods, strict=True):
        for metric in ("pickscore", "lpips"):
            one, other = joint.cell(name, metric), metric_interval(run, metric)
            assert one.mean == pytest.approx(other.mean)
            width = other.high - other.low  # percentiles of resamples, against the closed form of the table
            assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.12 * width)


def test_the_order_of_runs_changes_nothing(runs: list[Run], joint: Joint) -> None:
    turned = joint_bootstrap(runs[::-1])
    assert turned.difference("base", "refl", "lpips").low == pytest.approx(
        joint.difference("base", "refl", "lpips").low
    )


def test_differences_are_paired(joint: Joint) -> None:
    difference = joint.difference("base", "refl", "lpips")
    assert difference.mean == pytest.approx(joint.cell("refl", "lpips").mean - joint.cell("base", "lpips").mean)
    a, b = joint.cell("base", "lpips"), joint.cell("refl", "lpips")
    assert difference.high - difference.low < 0.9 * math.hypot(a.high - a.low, b.high - b.low)


def test_a_set_metric_without_jackknife_has_no_interval(joint: Joint) -> None:
    assert joint.still == ("fid",)
    assert "no interval" in str(joint.cell("base", "fid").reason)


def test_no_interval_of_a_selection_of_the_resamples(joint: Joint) -> None:
    draws = np.where(np.arange(1000) < 960, 1.0, math.nan)
    found = joint.interval(1.0, draws)
    assert (found.mean, found.reason) == (1.0, "could be computed in 96% of the resamples only: no interval")
    assert math.isnan(found.low)
    assert not found.excludes_zero
    assert joint.interval(1.0, np.where(np.arange(1000) < 980, 1.0, math.nan)).low == 1.0


def test_unscored_prompts_and_methods() -> None:
    sums, counts = np.ones((6, 2, 1)), np.ones((6, 2, 1))
    sums[0, 0], counts[0, 0] = 0, 0
    sums[:, 1], counts[:, 1] = 0, 0
    means, draws = joint_means(sums, counts, n_resamples=50)
    assert means[0, 0] == 1
    assert np.isnan(means[1, 0])
    assert np.isnan(draws[:, 1, 0]).all()
    nothing = Joint(("a", "b"), ("m",), (True,), means, draws, 6).cell("b", "m")
    assert (nothing.n, nothing.reason) == (0, "no value could be computed")


def test_set_metrics_have_the_standard_error_of_their_jackknife() -> None:
    rng = np.random.default_rng(1)
    prompts, blocks = 200, np.arange(200) * 20 // 200
    values = rng.normal(size=prompts)
    left_out = np.array([values[blocks != b].mean() for b in range(20)])
    draws = joint_jackknife(float(values.mean()), left_out, blocks, n_resamples=20_000)
    wanted = jackknife_interval(float(values.mean()), left_out, prompts)
    error = math.sqrt(19 / 20 * np.sum((left_out - left_out.mean()) ** 2)) * 2.0930 / 1.9720  # t of 19 against 199
    made = Joint(("a",), ("m",), (True,), np.ones((1, 1)), draws[:, None, None], prompts).interval(wanted.mean, draws)
    assert made.high - made.low == pytest.approx(wanted.high - wanted.low, rel=0.04)
    assert draws.std() == pytest.approx(error, rel=0.03)
    assert draws.mean() == pytest.approx(wanted.mean, abs=0.03 * error)


def test_set_metrics_of_two_methods_are_paired(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=12)
    stores = []
    for method, shift in (("base", 0.0), ("refl", 3.0)):
        store = make(tmp_path, method, prompts=24, metrics=())
        left_out = 20 + shift + shared + 0.05 * rng.normal(size=12)
        rows = [ScoreRow(None, i, float(value)) for i, value in enumerate(left_out)]
        store.append_scores("fid", [*rows, ScoreRow(None, None, 20 + shift)], card("fid"))
        stores.append(store)
    joint = joint_bootstrap([read_run(store) for store in stores])
    difference = joint.difference("base", "refl", "fid")
    cell = joint.cell("base", "fid")
    assert joint.still == ()
    assert difference.mean == pytest.approx(3)
    assert difference.high - difference.low < 0.2 * (cell.high - cell.low)


def test_one_prompt_has_no_interval() -> None:
    means, draws = joint_means(np.ones((1, 1, 1)), np.ones((1, 1, 1)), n_resamples=20)
    assert Joint(("a",), ("m",), (True,), means, draws, 1).cell("a", "m").reason == "one prompt only"


def test_unknown_names_are_told() -> None:
    means, draws = joint_means(np.ones((2, 1, 1)), np.ones((2, 1, 1)), n_resamples=20)
    with pytest.raises(KeyError, match="there are a"):
        Joint(("a",), ("m",), (True,), means, draws, 2).cell("b", "m")
