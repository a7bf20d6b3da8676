"""The documented workflow in a toy repository of a user: a first baseline, a checkpoint that passes, a worse one that
fails, one that cannot be told, and a renewed baseline. The steps are executed as GitHub would."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.workflow import Job, Runner, command_on_path

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "bench" / "shapes" / "weights"
INSTALL = ("Install PyTorch for the CPU", "Install")
SUITE = """
prompts = "shapes"
limit = 16
samples = 3
resolution = 64
guidance = 3.5
label = "shapes"
[model]
weights = "shapes:pipeline"
[sampler]
steps = 8
[methods.mine]
like = "refl"
weights = "../checkpoints/mine"
trained_on = ["pickscore"]
[metrics.lpips]
weights = "shapes:lpips"
[metrics.pickscore]
weights = "shapes:pickscore"
"""
GATE = 'baseline = "baseline.json"\n[mine.lpips]\nmax_drop_percent = {percent}\n'

pytestmark = pytest.mark.slow


def use(repository: Path, checkpoint: str) -> None:
    """What a commit does that brings another checkpoint."""
    shutil.rmtree(repository / "checkpoints" / "mine", ignore_errors=True)
    shutil.copytree(WEIGHTS / checkpoint, repository / "checkpoints" / "mine")


def verdicts(job: Job) -> list[str]:
    return re.findall(r"^(passed|failed|undecided|missing|not comparable)  ", job.out, re.MULTILINE)


def test_a_users_gate(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "eval").mkdir(parents=True)
    (repository / "eval" / "suite.toml").write_text(SUITE)
    (repository / "eval" / "gate.toml").write_text(GATE.format(percent=25))
    workflow = repository / ".github" / "workflows" / "gate.yml"
    workflow.parent.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "examples" / "gate.yml", workflow)
    runner = Runner(repository, tmp_path / "github", command_on_path(tmp_path / "bin", ROOT), INSTALL)
    artifacts, baseline = tmp_path / "github" / "artifacts", repository / "eval" / "baseline.json"

    use(repository, "imagerefl")
    first = runner.execute(workflow)  # no baseline yet: said, with the way to one
    assert not first.passed
    assert "baseline.json" in first.out
    assert "--update-baseline" in first.out
    assert "Traceback" not in first.out

    made = runner.execute(workflow, {"renew": True})
    assert made.passed, made.out
    assert (artifacts / "eval" / "baseline.json").read_bytes() == baseline.read_bytes()
    assert "nothing to do" in made.out  # images and scores came from the cache

    same = runner.execute(workflow)
    assert same.passed, same.out
    assert verdicts(same) == ["passed"]
    assert "lpips" in same.summary
    assert {"index.html", "table.md"} <= {path.name for path in (artifacts / "report").iterdir()}

    use(repository, "refl")  # the images of a prompt are much alike
    worse = runner.execute(workflow)
    assert not worse.passed
    assert verdicts(worse) == ["failed"]
    assert "::error" in worse.out
    assert worse.key != same.key
    assert "failed" in worse.summary
    assert (artifacts / "report" / "index.html").exists()

    drop = drop_percent(worse)
    (repository / "eval" / "gate.toml").write_text(
        GATE.format(percent=round(drop, 1))
    )  # the bound lies in the interval
    unclear = runner.execute(workflow)
    assert unclear.passed  # without --strict
    assert verdicts(unclear) == ["undecided"]
    assert re.search(r"about [\d,]+ prompts|no number of prompts", unclear.out)

    renewed = runner.execute(workflow, {"renew": True})
    assert renewed.passed, renewed.out
    before = {one["method"]: one["run"] for one in json.loads(baseline.read_text())["summaries"]}
    assert before["mine"] in renewed.out
    (repository / "eval" / "gate.toml").write_text(GATE.format(percent=25))
    again = runner.execute(workflow)
    assert verdicts(again) == ["passed"]
    assert runner.skipped[:2] == [
        "python -m pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision",
        "python -m pip install imagerefl-bench",
    ]


def drop_percent(job: Job) -> float:
    """The measured drop in percent of the baseline, from the line of the verdict."""
    found = re.search(r"^failed .*?(-?\d+\.?\d*)\s*%", job.out, re.MULTILINE)
    assert found, job.out
    return abs(float(found[1]))
