"""What is estimated where values are missing: expected units, pairs, worst cases, and what all runs have."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.bounded import Bounds
from bench.analysis.compare import compare
from bench.analysis.estimand import Units, pair, units_of
from bench.analysis.table.build import build
from bench.store.records import ScoreRow
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]
P, K = 32, 5


def units(values: np.ndarray, noise: tuple[str, ...] | None = ("42",), bounds: Bounds | None = None) -> Units:
    prompts = tuple(f"p{i:03d}" for i in range(len(values)))
    return Units(prompts, values, np.arange(len(values)), bounds, noise)


def stored(folder: Path, method: str, values: np.ndarray, metric: str = "image_reward") -> RunStore:
    """A run with these values [P, K]; NaN: no row at all."""
    store = make(folder, method, prompts=len(values), samples=values.shape[1], metrics=())
    rows = [ScoreRow(f"p{p:04d}", k, float(v)) for (p, k), v in np.ndenumerate(values) if np.isfinite(v)]
    store.append_scores(metric, rows, card(metric))
    return store


def test_an_absent_image_is_unscored_and_says_so(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(P, K))
    values[values.mean(axis=1) < np.median(values.mean(axis=1))] = np.nan
    run = read_run(stored(tmp_path, "base", values))
    rows = run.rows("image_reward")
    assert len(rows) == P * K
    assert set(rows.loc[rows["value"].isna(), "reason"]) == {"no image"}
    (row,) = build([run]).rows
    assert (row.cells["image_reward"].n, row.cells["image_reward"].n_unscored) == (80, 80)
    assert "unscored" in build([run]).protocol


def test_the_mean_is_over_prompts() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, 4.0]])
    assert units(values).mean().mean == pytest.approx(2.5)
    assert units(values).mean().interval().n == 4


def test_compare_tables_and_means_say_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(P, K))
    b = np.where(a < np.quantile(a, 0.2), np.nan, a)
    runs = [read_run(stored(tmp_path, "base", a)), read_run(stored(tmp_path, "refl", b))]
    (difference,) = compare(*runs).differences
    ((cell,),) = build(runs).differences.values()
    assert (difference.interval.mean, difference.better) == (0.0, "")
    assert (cell.interval.mean, cell.interval.n, cell.interval.n_unscored) == (0.0, 128, 32)


@pytest.mark.parametrize("worst", [False, True])
def test_identical_images_with_values_missing_are_never_marked(worst: bool) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        a = rng.normal(size=(P, K))
        gone = a < np.quantile(a, 0.2) if worst else rng.random(a.shape) < 0.2
        pairing = pair(units(a), units(np.where(gone, np.nan, a)))
        assert pairing.gaps == gone.sum()
        assert not pairing.p() < 0.05  # NaN where all pairs differ by 0
        other = pair(units(a, None), units(np.where(gone, np.nan, a), None))
        assert other.p() > 0.05


def test_a_mark_needs_the_worst_case() -> None:
    rng = np.random.default_rng(2)
    a = rng.uniform(0, 0.2, size=(P, K))
    b = a + 0.3 + 0.1 * rng.random(size=a.shape)
    b[:3, :1] = np.nan
    few = pair(units(a, bounds=Bounds(0, 1)), units(b, bounds=Bounds(0, 1)))
    assert few.p() < 0.001
    b[:24] = np.nan
    many = pair(units(a, bounds=Bounds(0, 1)), units(b, bounds=Bounds(0, 1)))
    assert many.estimate.p() < 0.001 < 0.05 < many.p()
    assert "0 and 1, the ends of the metric's range" in many.filled
    assert "the lowest and the highest value seen" in pair(units(a), units(b)).filled


def test_other_noise_is_paired_by_prompt() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(P, K)), rng.normal(size=(P, K))
    b[0, 0] = np.nan
    pairing = pair(units(a, ("1",)), units(b, ("2",)))
    assert pairing.differences.shape == (P, 1)
    assert pairing.mean == pytest.approx(np.mean(np.nanmean(b, axis=1) - a.mean(axis=1)))
    assert pairing.gaps == 1


def test_common_is_what_all_runs_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(P, K))
    b, c = a + 1.0, a + 2.0
    b[0] = np.nan
    c[1, 1:] = np.nan
    for method, values in (("base", a), ("refl", b), ("combined", c)):
        stored(tmp_path, method, values)
    runs = open_runs(tmp_path)[0]
    table = build(runs, common=True)
    assert {row.cells["image_reward"].n for row in table.rows} == {P * K - K - 4}
    assert {row.cells["image_reward"].n_unscored for row in table.rows} == {0}
    assert "151 of 160 images" in table.protocol
    left = compare(runs[0], runs[1], common=True)
    assert any("--common" in note for note in left.notes)
    assert {difference.interval.n_unscored for difference in left.differences} == {0}


def test_one_row_is_enough_to_know_a_group_metric(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=4, metrics=())
    store.append_scores("lpips", [ScoreRow("p0000", None, 0.5)], card("lpips"))
    found = units_of(read_run(store), "lpips")
    assert (found.values.shape, found.n, found.n_unscored) == ((4, 1), 1, 3)


def test_units_are_made_once_for_a_run_and_anew_for_a_changed_one(tmp_path: Path) -> None:
    values = np.random.default_rng(6).normal(size=(4, 3))
    run = read_run(stored(tmp_path, "base", values))
    found = units_of(run, "image_reward")
    assert units_of(run, "image_reward") is found
    assert found.of(found.prompts).prompt_means is found.prompt_means
    with pytest.raises(ValueError, match="read-only"):  # all who ask have these very arrays
        found.values[0, 0] = 9.0
    dearer = replace(
        run,
        scores=run.scores.assign(value=run.scores["value"] + 1),
        tags={"p0000": ("s:1",), "p0003": ("s:1",)},
        cluster="s",
    )
    np.testing.assert_allclose(units_of(dearer, "image_reward").values, values + 1)
    assert len(set(units_of(dearer, "image_reward").clusters)) == len(set(found.clusters)) - 1


def test_the_same_pictures_scored_otherwise_differ_by_what_the_scores_say() -> None:
    a = np.random.default_rng(5).normal(size=(P, K))
    same = pair(units(a), units(a + 1e-7)).paired(identical=True).interval
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    other = pair(units(a), units(a + 0.2)).paired(identical=True).interval
    assert other.mean == pytest.approx(0.2)
