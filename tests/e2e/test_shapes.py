"""The embedded suite with all its real metrics, few prompts: once with a network namespace that has no interfaces."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
METHODS = "base,refl,combined,imagerefl"
METRICS = {
    "pickscore",
    "hpsv2.1",
    "image_reward",
    "attribute_accuracy",
    "lpips",
    "dreamsim",
    "attribute_entropy",
    "fid",
    "kid",
}


def small(results: Path) -> list[str]:
    size = ["--limit", "4", "--samples", "2"]
    return ["run", "--suite", "shapes", "--method", METHODS, "--results", str(results), *size]


def test_main_job_without_network(bench_command, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("unshare -rn is not permitted here")
    results = tmp_path / "results"
    home = tmp_path / "home"  # nothing cached by an earlier download may help
    home.mkdir()
    environment = bench_command.environment(HOME=str(home), HF_HOME=str(home / "hf"), TORCH_HOME=str(home / "torch"))
    environment.pop("HF_HUB_OFFLINE")
    for arguments in (small(results), ["report", "--results", str(results)]):
        done = subprocess.run(
            ["unshare", "-rn", *bench_command.command(*arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for path in results.glob("runs/shapes/*@*"):
        summary = json.loads((path / "summary.json").read_text())
        assert set(summary["metrics"]) == METRICS
        for name, entry in summary["metrics"].items():
            assert entry["n_unscored"] == 0, (path.name, name, entry)
    assert "(shapes)" in (results / "report" / "table.md").read_text()


def test_doctor_finds_the_embedded_suite_ready(bench_command) -> None:
    text = bench_command("doctor").stdout
    assert "The embedded suite can run" in text
    assert "shapes:pipeline" in text
