"""The hub's evaluation results: what huggingface_hub itself reads back, and a model card that keeps its text."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard import ModelCard, metadata_load

import bench
from bench.analysis.summary import metric_interval
from bench.cli import main
from bench.errors import UsageError
from bench.store.records import ScoreRow
from bench.store.runs import read_run

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make = fakes["make"]
METRICS = ("pickscore", "lpips", "fid")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method in ("base", "refl"):
        make(tmp_path / "results", method, prompts=8, samples=3, metrics=METRICS)
    return tmp_path / "results"


def read_yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_eval_results_are_what_the_hub_reads(results: Path, tmp_path: Path) -> None:
    commit = "a" * 40
    written = bench.export_hub_results(
        "refl", tmp_path / "model", dataset="me/bench", revision=commit, source="https://x.org/r", results=results
    )
    assert [path.relative_to(tmp_path / "model").as_posix() for path in written] == [
        "README.md",
        ".eval_results/imagerefl-bench-shapes-refl.yaml",
    ]
    entries = {entry.task_id: entry for entry in parse_eval_result_entries(read_yaml(written[1]))}
    run = read_run(next(store for store in _stores(results) if store.name.startswith("refl")))
    assert set(entries) == set(METRICS)
    for name, entry in entries.items():
        interval = metric_interval(run, name)
        assert entry.value == interval.mean
        assert (entry.dataset_id, entry.dataset_revision, entry.source_url) == ("me/bench", commit, "https://x.org/r")
        assert "(shapes)" in entry.notes
        assert ("the model was trained on this metric" in entry.notes) == (name == "pickscore")
    assert f"95 % interval {metric_interval(run, 'lpips').low:.6g} to" in entries["lpips"].notes
    assert "no interval" in entries["fid"].notes
    assert "8 prompts x 3 images" in entries["lpips"].notes


def _stores(results: Path) -> list[Any]:
    from bench.store.run_store import find_runs

    return list(find_runs(results))


def test_the_model_index_is_read_back_with_its_intervals(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "my-model"
    bench.export_hub_results(["base", "refl"], out, results=results)
    assert not (out / ".eval_results").exists()
    card = ModelCard.load(out / "README.md")
    assert card.data.model_name == "my-model"
    assert len(card.data.eval_results) == 2 * len(METRICS)
    one = next(one for one in card.data.eval_results if one.metric_type == "lpips" and "refl" in one.dataset_config)
    assert one.metric_name == "LPIPS diversity (shapes)"
    assert one.metric_args["ci_low"] < one.metric_value < one.metric_args["ci_high"]
    assert (one.metric_args["n"], one.metric_args["n_unscored"], one.metric_args["trained_on"]) == (8, 0, False)
    assert one.dataset_args["prompts"] == 8
    assert metadata_load(out / "README.md")["pipeline_tag"] == "text-to-image"


def test_a_card_keeps_its_text_and_the_results_of_others(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    text = "# Mine\n\n---\nnot metadata\n---\nümlaut\n"
    (out / "README.md").write_text(
        "---\nlicense: mit\npipeline_tag: image-to-image\nmodel-index:\n- name: model\n  results:\n"
        "  - task: {type: text-to-image}\n    dataset: {name: GenEval, type: x/geneval}\n"
        "    metrics: [{type: acc, value: 0.5}]\n---\n" + text,
        encoding="utf-8",
    )
    for _ in range(2):  # the second time replaces its own, and adds nothing
        bench.export_hub_results("refl", out, results=results)
        content = (out / "README.md").read_text(encoding="utf-8")
        assert content.endswith(text)
        data = metadata_load(out / "README.md")
        assert (data["license"], data["pipeline_tag"]) == ("mit", "image-to-image")
        (model,) = data["model-index"]
        assert [one["dataset"]["name"] for one in model["results"]] == ["GenEval", "Shapes"]


def test_a_metric_without_a_value_is_left_out_and_said(
    results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(results, "combined", prompts=8, samples=3, metrics=("pickscore",))
    rows = [ScoreRow(f"p{index:04d}", None, math.nan, "one image") for index in range(8)]
    store.append_scores("lpips", rows, fakes["card"]("lpips"))
    bench.export_hub_results("combined", tmp_path / "model", dataset="me/bench", results=results)
    path = tmp_path / "model" / ".eval_results" / "imagerefl-bench-shapes-combined.yaml"
    assert [one["dataset"]["task_id"] for one in read_yaml(path)] == ["pickscore"]
    assert "LPIPS diversity (shapes) of combined: 8 of 8 values unscored, for instance: one image" in caplog.text


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"dataset": "bench"}, "--dataset bench: write the benchmark's repository"),
        ({"dataset": "a/b/c"}, "--dataset a/b/c"),
        ({"revision": "main", "dataset": "me/bench"}, "--revision main: give the commit"),
        ({"revision": "a" * 40}, "--revision aaa"),
        ({"source": "javascript:x"}, "--source javascript:x: give the address"),
    ],
)
def test_malformed_names_are_refused(how: dict[str, str], said: str, results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        bench.export_hub_results("refl", tmp_path / "model", results=results, **how)  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", ["---\nmodel-index: 7\n---\n", "---\na: [\n---\n", "---\nmodel-index: [1]\n---\n"])
def test_a_broken_card_is_refused_and_untouched(
    content: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(content)
    arguments = ["export", "hf", "refl", "--out", str(tmp_path), "--results", str(results), "--dataset", "me/bench"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "repair it first" in said
    assert "Traceback" not in said
    assert (tmp_path / "README.md").read_text() == content
    assert not (tmp_path / ".eval_results").exists()
