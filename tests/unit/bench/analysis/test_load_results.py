from __future__ import annotations

import math
from pathlib import Path

import pytest

import bench
from bench.analysis.load_results import load_results
from bench.errors import UsageError
from bench.store.records import Manifest, ScoreRow
from bench.store.run_store import RunStore

COLUMNS = ["suite", "method", "run", "metric", "kind", "prompt_id", "sample", "value", "reason", "prompt", "tags"]


def make_run(results: Path, method: str) -> RunStore:
    store = RunStore.create(results, "shapes", method, "00000000")
    prompts = [{"id": name, "text": name, "tags": []} for name in ("z", "a")]
    store.write_manifest(Manifest("shapes", method, store.name, {}, {}, {}, prompts, 2, status="complete"))
    images = [
        ScoreRow("a", 1, math.nan, "the network failed"),
        ScoreRow("a", 0, 1.0),
        ScoreRow("z", 1, 3.0),
        ScoreRow("z", 0, 2.0),
    ]
    store.append_scores("pickscore", images, {"kind": "image"})
    store.append_scores("lpips", [ScoreRow("a", None, 0.5), ScoreRow("z", None, 0.25)], {})
    store.append_scores("fid", [ScoreRow(None, None, 12.0)], {})
    return store


def test_tidy_rows_are_the_contract(tmp_path: Path) -> None:
    store = make_run(tmp_path, "refl")
    rows = load_results(tmp_path)
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 7
    assert set(rows["run"]) == {"refl@00000000"}
    assert rows.groupby("metric")["kind"].first().to_dict() == {"fid": "set", "lpips": "group", "pickscore": "image"}
    images = rows[rows["metric"] == "pickscore"]
    assert list(zip(images["prompt_id"], images["sample"], strict=True)) == [("z", 0), ("z", 1), ("a", 0), ("a", 1)]
    assert str(rows["sample"].dtype) == "Int64"
    fid = rows[rows["metric"] == "fid"].iloc[0]
    assert fid[["prompt_id", "sample"]].isna().all()
    assert fid["value"] == 12.0
    assert load_results(store.path).equals(rows)
    assert load_results(store.path.parent).equals(rows)


def test_nan_is_kept_with_its_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "refl")
    rows = load_results(tmp_path)
    unscored = rows[rows["value"].isna()]
    assert unscored["reason"].tolist() == ["the network failed"]
    assert rows["reason"].notna().sum() == 1


def test_runs_are_stacked_in_order(tmp_path: Path) -> None:
    make_run(tmp_path, "refl")
    make_run(tmp_path, "base")
    assert load_results(tmp_path)["method"].drop_duplicates().tolist() == ["base", "refl"]


def test_a_run_without_scores_gives_an_empty_table_with_types(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "shapes", "base", "00000000")
    store.write_manifest(Manifest("shapes", "base", store.name, {}, {}, {}, [], 2))
    rows = load_results(tmp_path)
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 0
    assert str(rows["value"].dtype) == "float64"


def test_no_runs_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs in .*: give a results folder, or create one with `bench run"):
        load_results(tmp_path / "nowhere")


def test_the_public_name(tmp_path: Path) -> None:
    make_run(tmp_path, "refl")
    assert bench.load_results is load_results
    assert {"run", "load_results", "report", "check"} <= set(dir(bench))
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nothing'"):
        bench.nothing  # noqa: B018
    assert isinstance(bench.__version__, str)
