"""Watching a folder: which folders are checkpoints, when they are whole, and when the watching ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli.app import execute
from bench.errors import UsageError
from bench.pipeline import watch as module
from bench.pipeline.watch import Course, find_checkpoints, settled, watch
from bench.suite.load import load_suite

if TYPE_CHECKING:
    from conftest import TinySuite


def checkpoint(folder: Path, age: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    os.utime(folder / "model.safetensors", (1000.0 - age, 1000.0 - age))
    return folder


def test_numbered_folders_are_checkpoints_in_their_order(tmp_path: Path) -> None:
    for name in ("checkpoint-1000", "checkpoint-500", "samples"):
        checkpoint(tmp_path / name)
    (tmp_path / "checkpoint-700").write_text("a file")
    assert [step for step, _ in find_checkpoints(tmp_path)] == [500, 1000]
    assert find_checkpoints(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["checkpoint-5", "checkpoint_5", "step5", "refl-step5", "epoch_05", "iter_000005"])
def test_names_of_checkpoints(name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / name)
    assert find_checkpoints(tmp_path) == [(5, tmp_path / name)]


def test_what_bench_train_leaves_beside(tmp_path: Path) -> None:
    for name in ("made-step50", "made-step100", "other-step10"):
        checkpoint(tmp_path / name)
    out = tmp_path / "made"
    assert [step for step, _ in find_checkpoints(out)] == [50, 100]
    out.mkdir()
    (out / "training.json").write_text(json.dumps({"recipe": {"steps": 120}}))
    assert find_checkpoints(out)[-1] == (120, out)
    with pytest.raises(UsageError, match=r"several training runs \(made, other\)"):
        find_checkpoints(tmp_path)


def test_a_folder_is_judged_when_nothing_changes_any_more(tmp_path: Path) -> None:
    one = checkpoint(tmp_path / "checkpoint-1")
    assert [settled(one, now) for now in (1000.0, 1009.0, 1011.0)] == [False, False, True]
    assert settled(one, 900.0), "another machine's clock"
    (tmp_path / "checkpoint-2").mkdir()
    assert not settled(tmp_path / "checkpoint-2", 5000.0), "nothing is written yet"
    (one / "training.json").write_text("{}")
    assert settled(one, 1000.0), "bench train puts whole folders in place"


class Clock:
    """A clock that goes on by sleeping; things may happen meanwhile."""

    def __init__(self) -> None:
        self.now = 2000.0
        self.events: list[tuple[float, Callable[[], Any]]] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at, act in [event for event in self.events if event[0] <= self.now]:
            act()
            self.events.remove((at, act))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[int], list[int], Clock]]:
    monkeypatch.setattr(module, "path_text", lambda runs, course: f"path of {sorted(runs)}")

    def go(folder: Path, clock: Clock | None = None, broken: int = -1, **options: Any) -> tuple[Any, Any, Clock]:
        clock, seen = clock or Clock(), []

        def evaluate(step: int, path: Path | None) -> Any:
            if step == broken:
                raise UsageError("it is damaged.")
            seen.append(step)

        course, told = Course("q", "d"), []
        failed = watch(folder, course, evaluate, told.append, clock=clock, sleep=clock.sleep, **options)
        assert len(told) == len(seen) - 1
        return seen, failed, clock

    return go


def test_once_judges_what_is_there(watched: Any, tmp_path: Path, said: list[str]) -> None:
    for step in (2, 10, 1):
        checkpoint(tmp_path / f"checkpoint-{step}")
    assert watched(tmp_path, once=True)[:2] == ([0, 1, 2, 10], [])
    assert watched(tmp_path, once=True, broken=2)[:2] == ([0, 1, 10], [2])
    assert "checkpoint-2 cannot be judged: it is damaged" in said[-1]


def test_once_ends_whatever_is_being_written(watched: Any, tmp_path: Path, said: list[str]) -> None:
    checkpoint(tmp_path / "checkpoint-1")
    checkpoint(tmp_path / "checkpoint-2", age=-1000.0)  # its time is the clock's beginning
    assert watched(tmp_path, once=True)[0] == [0, 1, 2]
    (tmp_path / "checkpoint-3").mkdir()
    seen, _, clock = watched(tmp_path, once=True)
    assert (seen, clock.now) == ([0, 1, 2], 2000.0 + 40.0)
    assert "checkpoint-3 is empty or still being written; skipped" in said[-1]
    with pytest.raises(UsageError, match="contains no checkpoints"):
        watched(tmp_path / "checkpoint-1", once=True)


def test_it_waits_for_new_ones_until_the_timeout(watched: Any, tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoint-1")
    clock = Clock()
    clock.events = [(2050.0, lambda: checkpoint(tmp_path / "checkpoint-2"))]
    seen, _, clock = watched(tmp_path, clock, timeout=100.0, interval=20.0)
    assert seen == [0, 1, 2]
    assert 2150.0 <= clock.now <= 2190.0


def test_a_finished_training_ends_it(watched: Any, tmp_path: Path) -> None:
    out = checkpoint(tmp_path / "made")
    checkpoint(tmp_path / "made-step1")
    (out / "training.json").write_text(json.dumps({"recipe": {"steps": 2}}))
    assert watched(out)[0] == [0, 1, 2]


def test_metrics_of_the_path() -> None:
    suite = load_suite("shapes")
    assert Course.of(suite, None, None) == Course("pickscore", "lpips")
    assert Course.of(suite, "hpsv2.1", "dreamsim") == Course("hpsv2.1", "dreamsim")
    with pytest.raises(
        UsageError, match="--quality lpips is not one of the image metrics of suite 'shapes': choose from pickscore"
    ):
        Course.of(suite, "lpips", None)


def test_the_command_refuses_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["watch", str(tmp_path / "a" / "b")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.slow
def test_a_watched_folder_of_a_training(
    tiny_suite: TinySuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three checkpoints of a real network, judged once; again there is nothing to do."""
    import shutil

    for step in (1, 2, 3):
        shutil.copytree(tiny_suite.tuned, tmp_path / f"checkpoint-{step}")
        for path in (tmp_path / f"checkpoint-{step}").iterdir():
            os.utime(path, (1000.0, 1000.0))
    command = ["watch", str(tmp_path), "--suite", str(tiny_suite.toml), "--limit", "2", "--once", "--device", "cpu"]
    assert execute(command) == 0
    first = capsys.readouterr().out
    assert first.count("update  ") == 3
    assert "no bend: " in first
    assert f"bench report --results {tmp_path}.eval" in first
    manifests = sorted((tmp_path.with_name(f"{tmp_path.name}.eval")).rglob("manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in manifests}
    assert len(before) == 4
    assert execute(command) == 0
    assert capsys.readouterr().out == first
    assert before == {path: path.stat().st_mtime_ns for path in manifests}
