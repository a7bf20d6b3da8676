from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.runtime import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_json_without_paths_of_this_machine() -> None:
    facts = provenance.collect("cuda:0 NVIDIA H100")
    text = json.dumps(facts)
    assert facts["device"] == "cuda:0 NVIDIA H100"
    assert facts["cpu_count"] >= facts["cpus_available"] >= 1
    assert {"numpy", "pyarrow", "pillow"} <= set(facts["packages"])
    for private in (str(Path.home()), str(Path(__file__).parents[4])):
        assert private not in text


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package-anywhere"))
    assert list(provenance.package_versions()) == ["numpy"]


def test_git_commit_and_dirty_flag(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert provenance.git_state(tmp_path) is None  # no commit yet
    (tmp_path / "a.txt").write_text("one")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked.txt").write_text("results of a run do not make the code dirty")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a.txt").write_text("two")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) is None
