"""Methods over training seeds: which runs are one method, and what is said of sets that are not whole."""

from __future__ import annotations

import dataclasses
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.checkpoints import method_difference, method_groups, method_interval
from bench.analysis.replicates import ONE_CHECKPOINT, two_way, two_way_difference
from bench.analysis.table.build import build
from bench.store.runs import Run, read_run

seeds = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "seeds.py"))
checkpoints, plain, store = seeds["checkpoints"], seeds["plain"], seeds["store"]


def world(seed: int = 0, count: int = 3) -> tuple[np.ndarray, list[Run]]:
    """A base and `count` checkpoints of refl, 30 prompts x 2 images: values of refl, and the runs."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(30, 2))
    base = plain("base", {"m": shared + 0.1 * rng.normal(size=(30, 2))})
    refl = shared + 0.5 + 0.1 * rng.normal(size=(count, 1, 1)) + 0.1 * rng.normal(size=(count, 30, 2))
    return refl, [base, *checkpoints("refl", refl)]


def test_groups_and_intervals_are_those_of_a_plain_computation() -> None:
    refl, runs = world()
    base, method = method_groups(runs)
    assert (base.name, base.several, base.trained) == ("base", False, False)
    assert (method.name, len(method.runs), method.notes) == ("refl", 3, ())
    found = method_interval(method, "m")
    assert found.mean == pytest.approx(refl.mean())
    assert (found.low, found.high) == pytest.approx(two_way(refl.mean(axis=2)).limits())
    difference = method_difference(base, method, "m")
    values = runs[0].rows("m").sort_values("prompt_id")["value"].to_numpy().reshape(30, 2).mean(axis=1)
    order = np.argsort([f"p{p}" for p in range(30)])
    wanted = two_way_difference(values, refl.mean(axis=2)[:, order], trained=(False, True))
    assert difference.interval.mean == pytest.approx(wanted.mean)
    assert (difference.interval.low, difference.interval.high) == pytest.approx(wanted.limits())
    assert difference.better == "b"
    assert difference.interval.reason is None


def test_order_of_runs_and_a_constant_change_nothing() -> None:
    _, runs = world(1)
    wanted = method_difference(*method_groups(runs), "m").interval
    turned = method_groups([runs[i] for i in (3, 0, 2, 1)])
    refl, base = turned
    assert [run.name for run in refl.runs] == ["refl@0", "refl[replicate=1]@0", "refl[replicate=2]@0"]
    assert method_difference(base, refl, "m").interval == wanted
    raised = [dataclasses.replace(run, scores=run.scores.assign(value=run.scores["value"] + 9)) for run in runs]
    again = method_difference(*method_groups(raised), "m").interval
    assert (again.mean, again.low, again.high) == pytest.approx((wanted.mean, wanted.low, wanted.high))


def test_one_checkpoint_says_what_it_cannot() -> None:
    _, runs = world(2, count=1)
    method = method_groups(runs)[1]
    assert method_interval(method, "m").reason == ONE_CHECKPOINT
    notes = build(runs).notes
    assert any("one checkpoint of refl" in note and "another training seed" in note for note in notes)


def test_a_missing_replicate_is_said() -> None:
    _, runs = world(3)
    method = method_groups(runs[:3])[1]
    assert method.notes == ("refl: 2 of 3 replicates are here, without refl-2",)
    assert method.notes[0] in build(runs[:3]).notes


def test_a_replicate_with_the_same_weights_counts_once() -> None:
    _, runs = world(4)
    one = runs[3].checkpoint
    assert one is not None
    runs[3] = dataclasses.replace(runs[3], checkpoint=dataclasses.replace(one, digest="digest refl 0"))
    method = method_groups(runs)[1]
    assert len(method.runs) == 2
    assert "same weights as refl@0" in method.notes[0]


def test_methods_with_other_numbers_of_checkpoints_are_compared() -> None:
    rng = np.random.default_rng(5)
    a = checkpoints("refl", rng.normal(size=(3, 20, 1)))
    b = checkpoints("draft", 2 + rng.normal(size=(2, 20, 1)))
    first, second = method_groups([*a, *b])
    assert method_difference(first, second, "m").better == "b"
    assert method_difference(second, first, "m").interval.mean == -method_difference(first, second, "m").interval.mean


def test_what_was_not_scored_never_helps() -> None:
    refl, runs = world(6)
    refl[1, :5] = np.nan
    runs = [runs[0], *checkpoints("refl", refl)]
    base, method = method_groups(runs)
    found = method_interval(method, "m")
    assert (found.n_unscored, found.clusters) == (5, 25)
    difference = method_difference(base, method, "m")
    assert difference.better == ""
    assert math.isnan(difference.p_mark)
    assert "not all checkpoints were scored" in (difference.interval.reason or "")
    nothing = method_interval(method_groups([runs[0], *checkpoints("refl", refl * np.nan)])[1], "m")
    assert math.isnan(nothing.mean)
    assert nothing.reason


def test_set_metrics_rest_on_blocks_and_equal_n() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(2, 20, 1))
    runs = checkpoints("refl", values, jackknife={"kid": rng.normal(3, 0.1, size=10)})
    base = plain("base", {"m": values[0]}, {"kid": rng.normal(1, 0.1, size=10)})
    first, second = method_groups([base, *runs])
    assert method_interval(second, "kid").clusters == 10
    assert method_difference(first, second, "kid").better == "a"  # lower is better
    runs[1] = dataclasses.replace(runs[1], n_images=7)
    assert "N differs" in (method_interval(method_groups([base, *runs])[1], "kid").reason or "")


def test_runs_of_another_recipe_are_another_method() -> None:
    _, runs = world(8)
    one = runs[1].checkpoint
    assert one is not None
    other = dataclasses.replace(runs[1], name="refl@1", checkpoint=dataclasses.replace(one, recipe="guidance 3"))
    groups = method_groups([*runs, other])
    assert [(group.name, len(group.runs)) for group in groups] == [("base", 1), ("refl@0", 3), ("refl@1", 1)]


def test_a_table_has_methods_where_one_has_several_checkpoints() -> None:
    _, runs = world(9)
    assert build(runs[:2]).methods == ()
    table = build(runs)
    assert [row.name for row in table.methods] == ["base", "refl"]
    assert table.methods[0].differences == ()
    assert len(table.methods[1].differences) == 1
    assert table.curves == ()  # another training seed is no other setting


def test_checkpoints_are_read_from_manifests(tmp_path: Path) -> None:
    runs = [read_run(store(tmp_path, "refl", number, prompts=6, samples=2)) for number in range(3)]
    (method,) = method_groups(runs)
    assert [run.checkpoint.weights for run in method.runs if run.checkpoint] == ["refl-0", "refl-1", "refl-2"]
    assert method.notes == ()
