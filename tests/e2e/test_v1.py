"""What version 1 wrote (tests/data/v1) still opens: results, baseline, checkpoint, training state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bench

ROOT = Path(__file__).parents[2]
V1 = ROOT / "tests" / "data" / "v1"
RUNS = ("base@f968f89e", "refl@ad6b75db", "combined@4de1646c")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the folder, which a test may change."""
    return Path(shutil.copytree(V1, tmp_path / "v1"))


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env=environment)


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


def test_running_it_again_makes_nothing_and_keeps_the_ids(old: Path) -> None:
    pictures = {path: path.read_bytes() for path in sorted((old / "results").rglob("*.png"))}
    done = call(old, "run", "--suite", "suite.toml", "--method", "base,refl,combined", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout + done.stderr
    assert {run in done.stdout for run in RUNS} == {True}
    assert {path: path.read_bytes() for path in sorted((old / "results").rglob("*.png"))} == pictures


def test_the_gate_reads_its_baseline_and_the_report_is_made(old: Path) -> None:
    runs = [f"results/runs/small/{run}" for run in RUNS]
    gate = call(old, "check", *runs, "--thresholds", "thresholds.toml", "--baseline", "baseline.json")
    assert gate.returncode == 0, gate.stdout + gate.stderr
    report = call(old, "report", *runs, "--out", "again")
    assert report.returncode == 0, report.stderr
    columns = ["method", "pickscore", "fid"]
    now, then = (pd.read_csv(old / name / "table.csv")[columns] for name in ("again", "report"))
    pd.testing.assert_frame_equal(now, then, rtol=1e-5)


@pytest.mark.slow
def test_a_training_goes_on_and_its_checkpoint_is_read(old: Path) -> None:
    options = ("--suite", "suite.toml", "--reward", "pickscore", "--lora-rank", "1", "--batch-size", "2")
    options += ("--set", "grad_steps=2", "--set", "save_every=2", "--device", "cpu")
    resumed = call(old, "train", "refl", *options, "--steps", "6", "--out", "unfinished")
    assert resumed.returncode == 0, resumed.stderr
    assert "after update 2 of 6" in resumed.stdout + resumed.stderr
    run = call(old, "run", "--suite", "suite.toml", "--method", "refl", "--set", "weights=lora", "--limit", "1")
    assert run.returncode == 0, run.stderr
