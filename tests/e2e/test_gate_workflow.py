"""The documented workflow in a toy repository of a user: without a baseline it fails and says how to make one, the one
that is made lets the checkpoint pass, and a bound that is broken fails. The steps are executed as GitHub would."""

from __future__ import annotations

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # some twenty commands, each of which imports torch


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

    (repository / "eval" / "gate.toml").write_text("[mine.lpips]\nmin = 99\n")
    broken = runner.execute(workflow)
    assert not broken.passed
    assert verdicts(broken) == ["failed"]
    assert (artifacts / "report" / "index.html").exists()  # whatever came of it
    assert runner.skipped[:2] == [
        "python -m pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision",
        "python -m pip install imagerefl-bench",
    ]
