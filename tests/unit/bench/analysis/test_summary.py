"""Summaries: the schema, what is averaged, what is null; and which runs may stand side by side."""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
from pathlib import Path

import pytest

from bench.analysis.comparable import largest_comparable, require_comparable, why_not_comparable
from bench.analysis.summary import summarise
from bench.errors import NotComparableError, UsageError
from bench.store.records import ScoreRow
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.store.select import display_names, open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]

KEYS = {"mean", "ci_low", "ci_high", "n", "n_unscored", "direction", "kind", "version", "unit", "title", "card_digest"}


def test_summary_has_the_schema_and_is_written(tmp_path: Path) -> None:
    store = make(tmp_path, "refl", prompts=6, samples=3)
    summary = summarise(store)
    assert summary["schema_version"] == 2
    assert (summary["suite"], summary["method"], summary["run"]) == ("shapes", "refl", store.name)
    assert summary["trained_on"] == ["pickscore"]
    assert all(metric.keys() >= KEYS for metric in summary["metrics"].values())
    assert store.summary() == summary
    assert "NaN" not in json.dumps(summary)


def test_n_counts_images_prompts_and_all_images(tmp_path: Path) -> None:
    metrics = summarise(make(tmp_path, "base", prompts=6, samples=3))["metrics"]
    assert {name: metrics[name]["n"] for name in ("image_reward", "lpips", "fid")} == {
        "image_reward": 18,
        "lpips": 6,
        "fid": 18,
    }
    assert (metrics["fid"]["ci_low"], metrics["fid"]["mean"]) == (None, 21.3)
    assert "no interval" in metrics["fid"]["reason"]


def test_unscored_values_are_counted_and_not_averaged(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=4, metrics=())
    rows = [ScoreRow("p0000", 0, 1.0), ScoreRow("p0001", 0, 3.0), ScoreRow("p0002", 0, math.nan, "too dark")]
    store.append_scores("image_reward", rows, fakes["card"]("image_reward"))
    store.append_scores("lpips", [ScoreRow("p0000", None, math.nan, "one image")], fakes["card"]("lpips"))
    store.append_scores("fid", [ScoreRow(None, None, math.nan, "no reference")], fakes["card"]("fid"))
    metrics = summarise(store)["metrics"]
    reward, lpips, fid = (metrics[name] for name in ("image_reward", "lpips", "fid"))
    assert (reward["mean"], reward["n"], reward["n_unscored"]) == (2.0, 2, 18)
    assert (lpips["mean"], lpips["n"], lpips["n_unscored"]) == (None, 0, 4)
    assert (fid["mean"], fid["n"], fid["reason"]) == (None, 0, "no reference")


def test_blocks_of_a_set_metric_give_an_interval(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=4, metrics=())
    rows = [ScoreRow(None, None, 20.0), *(ScoreRow(None, i, 20.0 + i - 1.5) for i in range(4))]
    store.append_scores("fid", rows, fakes["card"]("fid"))
    fid = summarise(store)["metrics"]["fid"]
    assert fid["ci_low"] < fid["mean"] == 20.0 < fid["ci_high"]


def test_same_rows_same_summary(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=32, metrics=("pickscore", "lpips"))
    assert summarise(store) == summarise(store)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"suite": "other"}, "suite differs"),
        ({"prompts": 5}, "prompts differ: 4 against 5"),
        ({"text": "a {} square"}, "prompts differ: for instance p0000"),
        ({"samples": 2}, "samples differ: 3 against 2"),
        ({"seed": 1}, "seed differs: 42 against 1"),
        (
            {"cards": {"lpips": fakes["card"]("lpips", version="2")}},
            "lpips was computed differently: version 1 against 2",
        ),
        (
            {"cards": {"lpips": fakes["card"]("lpips", weights={"net.pth": "ab" * 32})}},
            "lpips was computed differently: weights file net.pth: sha256 not stated against abababab",
        ),
    ],
)
def test_the_field_that_differs_is_named(tmp_path: Path, change: dict[str, object], field: str) -> None:
    base = read_run(make(tmp_path, "base", prompts=4, samples=3, metrics=("lpips",)))
    other = read_run(make(tmp_path, "refl", **{"prompts": 4, "samples": 3, "metrics": ("lpips",), **change}))
    assert field in str(why_not_comparable(base, other))
    with pytest.raises(NotComparableError, match="base@.* and refl@.* are not comparable"):
        require_comparable([base, other])


def test_a_missing_metric_does_not_forbid_comparison(tmp_path: Path) -> None:
    a, b = make(tmp_path, "base", prompts=4), make(tmp_path, "refl", prompts=4, metrics=("lpips",))
    assert why_not_comparable(read_run(a), read_run(b)) is None


def test_largest_group_is_taken_and_the_rest_named(tmp_path: Path) -> None:
    for method in ("base", "refl", "imagerefl"):
        make(tmp_path, method, prompts=4, metrics=("lpips",))
    make(tmp_path, "base", prompts=3, metrics=("lpips",))
    make(tmp_path, "refl", prompts=3, metrics=("lpips",))
    kept, left = largest_comparable(open_runs(tmp_path)[0])
    assert sorted(run.method for run in kept) == ["base", "imagerefl", "refl"]
    assert [(one.run.split("@")[0], one.why) for one in left] == [
        ("base", "prompts differ: 4 against 3 prompts"),
        ("refl", "prompts differ: 4 against 3 prompts"),
    ]


def test_open_runs_takes_folders_stores_and_runs(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=2)
    make(tmp_path, "refl", prompts=2)
    assert len(open_runs(tmp_path)[0]) == len(open_runs(tmp_path / "runs" / "shapes")[0]) == 2
    assert [run.method for run in open_runs(store)[0]] == ["base"]
    assert [run.method for run in open_runs([store.path, read_run(store)])[0]] == ["base"]
    assert open_runs(tmp_path)[2] is False
    assert open_runs([store.path])[2] is True


def test_unfinished_and_absent_runs(tmp_path: Path) -> None:
    running = make(tmp_path, "base", prompts=2, status="running")
    with pytest.raises(UsageError, match="no finished runs"):
        open_runs(tmp_path)
    with pytest.raises(UsageError, match="is not finished"):
        open_runs(running.path)
    with pytest.raises(UsageError, match="there is no results folder"):
        open_runs(tmp_path / "nowhere")


def test_a_method_that_occurs_twice_is_shown_with_its_hash(tmp_path: Path) -> None:
    runs = [read_run(make(tmp_path, "base", seed=seed, prompts=2)) for seed in (1, 2)]
    runs.append(read_run(make(tmp_path, "refl", prompts=2)))
    assert display_names(runs) == [runs[0].name, runs[1].name, "refl"]


def test_runs_of_one_name_in_two_folders_are_told_apart_by_their_path(tmp_path: Path) -> None:
    paths = [make(tmp_path / folder, "base", prompts=2).path for folder in ("old", "new/a", "new/b")]
    runs = [read_run(RunStore(path)) for path in paths]
    name = runs[0].name
    assert display_names(runs) == [f"{name} (old)", f"{name} (new/a)", f"{name} (new/b)"]
    assert display_names(runs[1:]) == [f"{name} (a)", f"{name} (b)"]
    assert display_names([runs[0], runs[0]]) == [name, name]
    outer = dataclasses.replace(runs[0], path=tmp_path / "runs" / "shapes" / name)
    assert display_names([runs[0], outer]) == [f"{name} (old)", f"{name} (.)"]
