"""What version 1 wrote (tests/data/v1) still opens: results, baseline, checkpoint, training state."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench
from bench.cli.app import execute
from bench.errors import UsageError
from bench.store.run_store import RunStore

ROOT = Path(__file__).parents[2]
V1 = ROOT / "tests" / "data" / "v1"
RUNS = ("base@f968f89e", "refl@ad6b75db", "combined@4de1646c")
KOHYA = "scaled-weights-kohya_alphas.safetensors-value-1@2de7b45a"
PLAIN = "scaled-weights-plain_beside_lora.safetensors@9167d540"
SPOILED = "base@11005e7e"
OUTDATED = {
    KOHYA: "left out the alphas of kohya_alphas.safetensors, which differ by layer",
    PLAIN: "put whole parameters of plain_beside_lora.safetensors (unet.conv_out.weight) into the base network",
    SPOILED: f"in one call with {PLAIN}, which put plain_beside_lora.safetensors",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the folder, which a test may change."""
    return Path(shutil.copytree(V1, tmp_path / "v1"))


@pytest.fixture
def call(old: Path, bench_command: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in the copy; exit code 0."""
    bench_command.folder = old
    return bench_command


def test_the_rows_are_those_of_the_summaries(old: Path) -> None:
    rows = bench.load_results(old / "results")
    for run in RUNS:
        summary = json.loads((V1 / "results" / "runs" / "small" / run / "summary.json").read_text())
        mine = rows[(rows["run"] == run) & (rows["kind"] == "image")]
        means = mine.groupby(["metric", "prompt_id"])["value"].mean().groupby("metric").mean()
        for metric, value in means.items():
            assert value == pytest.approx(summary["metrics"][metric]["mean"], rel=1e-6), (run, metric)
        fid = rows[(rows["run"] == run) & (rows["metric"] == "fid") & rows["sample"].isna()]
        assert fid["value"].tolist() == [pytest.approx(summary["metrics"]["fid"]["mean"], rel=1e-6)]


def test_running_it_again_makes_nothing_and_keeps_the_ids(old: Path, call: Any) -> None:
    pictures = {path: path.read_bytes() for path in sorted((old / "results").rglob("*.png"))}
    done = call("run", "--suite", "suite.toml", "--method", "base,refl,combined", "--device", "cpu")
    assert "nothing to do" in done.stdout + done.stderr
    assert {run in done.stdout for run in RUNS} == {True}
    assert {path: path.read_bytes() for path in sorted((old / "results").rglob("*.png"))} == pictures


def test_the_gate_reads_its_baseline_and_the_report_is_made(old: Path, call: Any) -> None:
    runs = [f"results/runs/small/{run}" for run in RUNS]
    call("check", *runs, "--thresholds", "thresholds.toml", "--baseline", "baseline.json")
    call("report", *runs, "--out", "again")
    columns = ["method", "pickscore", "fid"]
    now, then = (pd.read_csv(old / name / "table.csv")[columns] for name in ("again", "report"))
    pd.testing.assert_frame_equal(now, then, rtol=1e-5)


@pytest.mark.slow
def test_a_training_goes_on_and_its_checkpoint_is_read(old: Path, call: Any) -> None:
    options = ("--suite", "suite.toml", "--reward", "pickscore", "--lora-rank", "1", "--batch-size", "2")
    options += ("--set", "grad_steps=2", "--set", "save_every=2", "--device", "cpu")
    resumed = call("train", "refl", *options, "--steps", "6", "--out", "unfinished")
    assert "after update 2 of 6" in resumed.stdout + resumed.stderr
    call("run", "--suite", "suite.toml", "--method", "refl", "--set", "weights=lora", "--limit", "1")


def pictures(store: RunStore) -> dict[tuple[str, int], str]:
    return {row.key: row.sha256 for row in store.images()}


def told(text: str, run: str) -> bool:
    """Whether a line names the run with why it is outdated."""
    return any(run in line and "outdated" in line and OUTDATED[run] in line for line in text.splitlines())


@pytest.fixture
def here(old: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The copy as the working folder: weights are named by relative paths."""
    monkeypatch.chdir(old)
    return old


@pytest.mark.parametrize(
    "command",
    [
        ["doctor"],
        ["report", "--out", "again", "--gallery", "0"],
        ["check", "--thresholds", "thresholds.toml", "--baseline", "baseline.json"],
        ["score", "results", "--metrics", "pickscore", "--device", "cpu"],
    ],
    ids=lambda command: command[0],
)
def test_commands_name_runs_that_are_read_otherwise_today(
    here: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert execute(command) == 0
    printed = capsys.readouterr()
    for run in OUTDATED:
        assert told(printed.out + printed.err, run), run
    for run in RUNS:
        assert f"{run} is outdated" not in printed.out + printed.err
    if command[0] == "report":
        methods = pd.read_csv(here / "again" / "table.csv")["method"].tolist()
        assert sorted(methods) == ["base", "combined", "mine", "refl"]
        assert not any(run in (here / "again" / "scores.csv").read_text() for run in OUTDATED)
        assert all(run in (here / "again" / "index.html").read_text() for run in OUTDATED)


@pytest.mark.parametrize("run", OUTDATED)
def test_they_are_in_no_comparison(here: Path, capsys: pytest.CaptureFixture[str], run: str) -> None:
    for command in (
        ["compare", RUNS[0], run],
        ["compare", f"results/runs/small/{run}", RUNS[1]],
        ["report", f"results/runs/small/{run}", f"results/runs/small/{RUNS[0]}"],
        ["check", f"results/runs/small/{run}", "--thresholds", "thresholds.toml", "--baseline", "baseline.json"],
        ["check", f"results/runs/small/{run}", "--update-baseline", "--baseline", "new.json"],
    ):
        assert execute(command) == 2, command
        assert told(capsys.readouterr().err, run), command
    assert not (here / "new.json").exists()


def test_an_outdated_run_stands_for_no_method(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """base@11005e7e is the newest of its method: an older one is not judged in its place."""
    (here / "of_base.toml").write_text("[base.pickscore]\nmin = -5.0\n")
    assert execute(["check", "--thresholds", "of_base.toml"]) == 3
    printed = capsys.readouterr()
    assert "not comparable" in printed.out
    assert told(printed.out + printed.err, SPOILED)


def test_their_rows_come_with_a_warning(here: Path, said: list[str]) -> None:
    rows = bench.load_results("results")
    assert {*OUTDATED, *RUNS} <= set(rows["run"])
    assert all(told("\n".join(said), run) for run in OUTDATED)


def test_from_another_folder_it_is_said_that_it_is_not_known(old: Path, said: list[str]) -> None:
    """The weights are named by relative paths, which are nowhere from here."""
    bench.report(results=old / "results", out=old / "again", gallery=0)
    assert any(KOHYA in line and "are not on this machine" in line for line in said)
    assert "are not on this machine" in (old / "again" / "index.html").read_text()


def scaled(here: Path, weights: str, **settings: str) -> dict[str, Any]:
    given = {"settings": {"weights": weights, **settings}, "results": "results", "device": "cpu"}
    return {"suite": here / "suite.toml", "metrics": ["pickscore"], **given}


@pytest.mark.slow
def test_a_run_of_today_takes_nothing_from_an_outdated_one(here: Path, said: list[str]) -> None:
    results = here / "results" / "runs" / "small"
    (new,) = bench.run(methods=["scaled"], **scaled(here, "kohya_alphas.safetensors", value="1"))
    old = RunStore(results / KOHYA)
    assert new.name != KOHYA
    assert new.manifest().identity == {**old.manifest().identity, "loader_version": 2}
    assert new.manifest().counts["images_reused"] == 0
    before, after = pictures(old), pictures(new)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values()), "the alphas act"
    assert any(f"{KOHYA} is outdated" in line and new.name in line for line in said)
    assert bench.plan(methods=["scaled"], **_without(scaled(here, "kohya_alphas.safetensors", value="1"))).missing == 0
    said.clear()
    bench.report(results="results", out="again", gallery=0)
    assert any(f"{KOHYA} (outdated: " in line and f"{new.name} takes its place" in line for line in said)
    assert new.name in (here / "again" / "scores.csv").read_text()


@pytest.mark.slow
def test_a_base_that_was_spoiled_is_not_gone_on_with(here: Path) -> None:
    folder = here / "results" / "runs" / "small" / SPOILED
    spoiled = pictures(RunStore(folder))
    base = {"methods": ["base"], "seed": 7, "suite": here / "suite.toml", "results": "results"}
    made = {"metrics": ["pickscore"], "device": "cpu", "batch_size": 2}
    for begin in (bench.run, bench.plan):
        with pytest.raises(UsageError, match=f"{SPOILED} is outdated: .*--resume never"):
            begin(**base)
    assert pictures(RunStore(folder)) == spoiled, "it is as it was"
    with pytest.raises(UsageError, match="is outdated"):
        bench.run(**base, **made, samples=3)
    # A run of other prompts takes no picture from it.
    (other,) = bench.run(**base, **made, limit=2)
    assert other.manifest().counts["images_reused"] == 0
    assert not set(pictures(other).values()) & set(spoiled.values())
    (new,) = bench.run(**base, **made, resume="never")
    assert new.name == SPOILED
    assert pictures(other).items() <= pictures(new).items()
    assert execute(["compare", SPOILED, RUNS[0]]) == 0


def _without(call: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in call.items() if key != "device"}
