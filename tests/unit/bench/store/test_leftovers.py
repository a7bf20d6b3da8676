"""Temporary names: whose they are, and which of them a sweep removes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import leftovers
from bench.store.leftovers import OLD_SECONDS, clean_leftovers, temporary_name

RANDOM = "0123456789abcdef" * 2


def made(path: Path, age: float = 0.0) -> Path:
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_name_is_hidden_new_and_short_enough(tmp_path: Path) -> None:
    for name in ("summary.json", "x" * 255, "é" * 127, ".hidden"):
        first, second = temporary_name(tmp_path / name), temporary_name(tmp_path / name)
        assert first != second
        assert first.parent == tmp_path
        assert first.name.startswith(".")
        first.write_bytes(b"the file system takes it")
    assert clean_leftovers(tmp_path) == 0  # this process lives


def test_what_a_dead_process_left_goes_at_once(tmp_path: Path, left_by_a_kill: Callable[[Path], Path]) -> None:
    (tmp_path / "deep").mkdir()
    left = [made(left_by_a_kill(tmp_path / "a.npz")), made(left_by_a_kill(tmp_path / "deep" / "b.png"))]
    folder = left_by_a_kill(tmp_path / "scores")
    folder.mkdir()
    made(folder / "part-1.parquet")
    assert clean_leftovers(tmp_path, deep=False) == 2
    assert [path.exists() for path in (*left, folder)] == [False, True, False]
    assert clean_leftovers(tmp_path) == 1
    assert not left[1].exists()


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    own = temporary_name(tmp_path / "x").name
    pid = f"-{os.getpid()}-"
    start = int(own.split(pid)[1].split(".")[0])
    assert start > 0, "this system tells when a process began"
    earlier = made(tmp_path / own.replace(f"{pid}{start}.", f"{pid}{start - 1}."))
    mine = made(tmp_path / own)
    assert clean_leftovers(tmp_path) == 1
    assert (earlier.exists(), mine.exists()) == (False, True)


def test_the_name_of_a_fork_is_its_own(tmp_path: Path) -> None:
    here = temporary_name(tmp_path / "x").name
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(start, temporary_name(tmp_path / "x").name.encode())
        os._exit(0)
    os.waitpid(child, 0)
    there = os.read(end, 1000).decode()
    os.close(end)
    os.close(start)
    assert f"-{child}-" in there
    assert f"-{os.getpid()}-" in here
    made(tmp_path / there)
    assert clean_leftovers(tmp_path) == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f".x.ffffffff-{os.getpid()}-1.{RANDOM}.tmp", id="another machine"),
        pytest.param(f".summary.json.{RANDOM}.tmp", id="an older version"),
    ],
)
def test_what_nobody_can_be_asked_about_goes_when_it_is_old(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / name, OLD_SECONDS - 60)
    assert clean_leftovers(tmp_path) == 0
    made(path, OLD_SECONDS + 60)
    assert clean_leftovers(tmp_path) == 1
    assert not path.exists()


@pytest.mark.parametrize("name", [".x.tmp", "x.tmp", ".notes.1234.tmp", f"x.{RANDOM}.tmp", f".x.{RANDOM}"])
def test_files_of_others_are_never_touched(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / name, 1000 * OLD_SECONDS)
    assert clean_leftovers(tmp_path) == 0
    assert path.exists()


def test_without_proc_a_process_lives_as_long_as_its_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_start", lambda pid: None)
    leftovers._own_start.cache_clear()
    mine = temporary_name(tmp_path / "x")
    assert f"-{os.getpid()}-0." in mine.name
    made(mine)
    assert clean_leftovers(tmp_path) == 0
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    made(tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{child}-"))
    assert clean_leftovers(tmp_path) == 1
    leftovers._own_start.cache_clear()
