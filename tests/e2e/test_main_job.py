"""The main job on a tiny random model: run, score, report, check, compare, and what must not be done twice."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

METHODS = ("base", "refl", "combined", "imagerefl")


@pytest.fixture(scope="module")
def made_once(tiny_suite, run_bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("made") / "results"
    run_bench(*tiny_suite.arguments(results, *METHODS))
    return results


@pytest.fixture
def finished(made_once: Path, tmp_path: Path) -> Path:
    """A results folder with all four methods, the test's own to spoil."""
    return Path(shutil.copytree(made_once, tmp_path / "results"))


def manifests(results: Path) -> dict[str, dict]:
    read = (json.loads(path.read_text()) for path in results.rglob("manifest.json"))
    return {manifest["method"]: manifest for manifest in read}


def mtimes(results: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in results.rglob(pattern)}


def test_run_writes_what_the_contract_says(finished: Path, tidy) -> None:
    found = manifests(finished)
    assert set(found) == set(METHODS)
    for manifest in found.values():
        assert manifest["status"] == "complete"
        assert manifest["schema_version"] == 2
        run = finished / "runs" / "tiny" / manifest["run"]
        assert len(list((run / "images").rglob("*.png"))) == 6
        assert list((run / "images").glob("part-*.parquet"))
        assert list((run / "scores" / "attribute_accuracy").glob("part-*.parquet"))
        summary = json.loads((run / "summary.json").read_text())
        assert set(summary["metrics"]) == {"attribute_accuracy", "attribute_entropy"}
        entry = summary["metrics"]["attribute_accuracy"]
        assert entry["n"] + entry["n_unscored"] == 6
        if entry["mean"] is not None:
            assert entry["ci_low"] <= entry["mean"] <= entry["ci_high"]
    rows = tidy(finished)
    assert list(rows.columns) == [
        "suite",
        "method",
        "run",
        "metric",
        "kind",
        "prompt_id",
        "sample",
        "value",
        "reason",
        "prompt",
        "tags",
    ]
    assert (rows.groupby(["method", "metric"]).size().unstack() == [6, 3]).all().all()
    assert rows.loc[rows["value"].isna(), "reason"].notna().all()


def test_methods_of_one_call_share_their_trunk(finished: Path) -> None:
    counts = [manifest["counts"] for manifest in manifests(finished).values()]
    needed = sum(count["network_evaluations_needed"] for count in counts)
    executed = sum(count["network_evaluations_executed"] for count in counts)
    assert 0 < executed < needed


def test_methods_see_the_same_noise(bench_command, tiny_suite, finished: Path, pixels, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    bench_command(*tiny_suite.arguments(alone, "combined"))
    together = {path: data for path, data in pixels(finished).items() if path.startswith("runs/tiny/combined@")}
    assert pixels(alone) == together


def test_the_table_is_printed_with_intervals_and_folders(bench_command, tiny_suite, tmp_path: Path) -> None:
    done = bench_command(*tiny_suite.arguments(tmp_path / "results", "base", "refl"))
    assert "(tiny)" in done.stdout
    assert "base" in done.stdout
    assert "[" in done.stdout
    for path in (tmp_path / "results").glob("runs/tiny/*@*"):
        assert str(path) in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stderr


def test_running_again_does_nothing_and_says_so(bench_command, tiny_suite, finished: Path) -> None:
    before = mtimes(finished, "*.png") | mtimes(finished, "*.parquet")
    done = bench_command(*tiny_suite.arguments(finished, *METHODS))
    assert "nothing to do" in done.stderr
    assert mtimes(finished, "*.png") | mtimes(finished, "*.parquet") == before


def test_adding_a_metric_scores_without_generating(bench_command, tiny_suite, tmp_path: Path) -> None:
    results = tmp_path / "results"
    bench_command(*tiny_suite.arguments(results, "base"), "--metrics", "attribute_accuracy")
    images = mtimes(results, "*.png")
    scores = mtimes(results, "scores/attribute_accuracy/*")
    assert not list(results.rglob("scores/attribute_entropy"))
    done = bench_command(*tiny_suite.arguments(results, "base"), "--metrics", "attribute_accuracy,attribute_entropy")
    assert "nothing to do" not in done.stderr
    assert list(results.rglob("scores/attribute_entropy/part-*.parquet"))
    assert mtimes(results, "*.png") == images
    assert mtimes(results, "scores/attribute_accuracy/*") == scores


def test_adding_a_prompt_generates_only_that_prompt(bench_command, tiny_suite, finished: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text(tiny_suite.prompts.read_text() + '{"id": "new", "text": "a small yellow circle"}\n')
    bench_command(*tiny_suite.arguments(finished, "base"), "--prompts", more)
    runs = [json.loads(path.read_text()) for path in finished.glob("runs/tiny/base@*/manifest.json")]
    assert len(runs) == 2
    larger = max(runs, key=lambda run: run["prompts"]["count"])
    assert larger["counts"]["images"] == 8
    assert larger["counts"]["images_generated"] == 2
    assert larger["counts"]["images_reused"] == 6


def test_more_samples_keep_the_ones_there_are(bench_command, tiny_suite, finished: Path, pixels) -> None:
    before = pixels(finished)
    bench_command(*tiny_suite.arguments(finished, "base"), "--samples", "3")
    after = pixels(finished)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 3


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
def test_a_damaged_image_is_made_again_and_said(
    bench_command, tiny_suite, finished: Path, pixels, tidy, damage: str
) -> None:
    images, rows = pixels(finished), tidy(finished)
    victim = next(iter(sorted(finished.glob("runs/tiny/base@*/images/red/0.png"))))
    other = victim.with_name("1.png").read_bytes()
    if damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:100])
    elif damage == "foreign":
        victim.write_bytes(other)
    else:
        victim.unlink()
    done = bench_command(*tiny_suite.arguments(finished, "base"))
    assert "red" in done.stderr
    assert pixels(finished) == images
    assert tidy(finished).equals(rows)


def test_a_sweep_makes_a_run_per_value(bench_command, tiny_suite, tmp_path: Path) -> None:
    results = tmp_path / "results"
    bench_command(*tiny_suite.arguments(results, "combined"), "--set", "switch_step=0,4,8", "--samples", "1")
    names = {path.name.split("@")[0] for path in results.glob("runs/tiny/*@*")}
    assert len(names) == 3
    assert any("switch_step-4" in name for name in names)


def test_another_seed_is_another_run(bench_command, tiny_suite, finished: Path, pixels) -> None:
    bench_command(*tiny_suite.arguments(finished, "base"), "--seed", "4")
    first, second = (pixels(path / "images") for path in sorted(finished.glob("runs/tiny/base@*")))
    assert first.keys() == second.keys()
    assert all(first[path] != second[path] for path in first)


def test_report(bench_command, finished: Path) -> None:
    done = bench_command("report", "--results", finished)
    folder = finished / "report"
    assert str(folder) in done.stdout
    for name in ("pareto.png", "pareto.svg", "table.md", "table.csv", "table.tex", "scores.csv"):
        assert (folder / name).stat().st_size > 0, name
    assert all(method in (folder / "table.md").read_text() for method in METHODS)
    elsewhere = finished.parent / "elsewhere"
    bench_command("report", "base", "refl", "--results", finished, "--out", elsewhere)
    assert "imagerefl" not in (elsewhere / "table.csv").read_text()


def test_compare(bench_command, finished: Path) -> None:
    text = bench_command("compare", "base", "refl", "--results", finished).stdout
    assert "attribute_accuracy" in text or "Attribute accuracy" in text


def test_check_is_a_gate(bench_command, error_of, finished: Path, tmp_path: Path) -> None:
    summary = json.loads(next(finished.glob("runs/tiny/base@*/summary.json")).read_text())
    mean = summary["metrics"]["attribute_accuracy"]["mean"]
    assert mean is not None
    assert math.isfinite(mean)
    thresholds, junit = tmp_path / "thresholds.toml", tmp_path / "junit.xml"
    thresholds.write_text("[base.attribute_accuracy]\nmin = -1.0\n")
    bench_command("check", "--thresholds", thresholds, "--results", finished, "--junit", junit)
    assert junit.read_text().lstrip().startswith("<")
    thresholds.write_text("[base.attribute_accuracy]\nmin = 2.0\n")
    bench_command("check", "--thresholds", thresholds, "--results", finished, "--junit", junit, code=1)
    thresholds.write_text("[base.atribute_accuracy]\nmin = 2.0\n")
    assert "attribute_accuracy" in error_of(2, "check", "--thresholds", thresholds, "--results", finished)
    thresholds.write_text("[base.attribute_accuracy\n")
    assert "thresholds.toml" in error_of(2, "check", "--thresholds", thresholds, "--results", finished)
    assert "nowhere" in error_of(2, "check", "--thresholds", tmp_path / "nowhere.toml", "--results", finished)


def test_score_again_from_the_images(bench_command, finished: Path, tidy) -> None:
    rows = tidy(finished)
    run = next(finished.glob("runs/tiny/base@*"))
    shutil.rmtree(run / "scores")
    (run / "summary.json").unlink()
    bench_command("score", run)
    assert tidy(finished).equals(rows)


def test_images_from_anywhere_become_a_run(bench_command, tiny_suite, finished: Path, tidy, tmp_path: Path) -> None:
    images = next(finished.glob("runs/tiny/base@*")) / "images"
    results = tmp_path / "adopted"
    arguments = ["--prompts", tiny_suite.prompts, "--name", "mine", "--suite", tiny_suite.toml, "--results", results]
    bench_command("score", "--images", images, *arguments)
    mine = tidy(results).sort_values(["metric", "prompt_id", "sample"], ignore_index=True)
    base = tidy(finished).query("method == 'base'").sort_values(["metric", "prompt_id", "sample"], ignore_index=True)
    assert set(mine["method"]) == {"mine"}
    assert mine["value"].equals(base["value"])


def test_python_api(tiny_suite, finished: Path) -> None:
    import bench

    frame = bench.load_results(finished)
    assert set(frame["method"]) == set(METHODS)
    one = bench.load_results(next(finished.glob("runs/tiny/refl@*")))
    assert set(one["method"]) == {"refl"}
