"""What lies in the place of a file, or in it, and cannot be used: one sentence, never a wait and never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import bench
from bench.cli.app import _sentence
from bench.store.digests import write_protected


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two pictures of one's own for the first prompt of the tiny suite."""
    from PIL import Image

    folder = tmp_path / "mine" / "red"
    folder.mkdir(parents=True)
    for sample in range(2):
        Image.effect_noise((64, 64), 40 + sample).convert("RGB").save(folder / f"{sample}.png")
    return folder.parent


def taking(tiny_suite, mine: Path, tmp_path: Path) -> list[str]:
    return [
        "score", "--images", str(mine), "--suite", str(tiny_suite.toml), "--prompts", str(tiny_suite.prompts),
        "--name", "mine", "--results", str(tmp_path / "results"),
    ]  # fmt: skip


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(("spoil", "words"), [(pipe, "is not a regular file"), (folder, "is a folder")])
def test_an_image_that_is_none(
    error_of, tiny_suite, mine: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(mine / "red" / "1.png")
    assert words in error_of(2, *taking(tiny_suite, mine, tmp_path))


def test_large_numbers_are_seeds_and_said(bench_command, tiny_suite, mine: Path, tmp_path: Path) -> None:
    (mine / "red" / "1.png").rename(mine / "red" / "184467440737.png")
    said = bench_command(*taking(tiny_suite, mine, tmp_path)).stderr
    assert "file names are seeds (0, 184467440737)" in said
    assert "red/184467440737.png = sample 1 of red" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"id": "a", "text": "t", "tags": ' + "[" * 60_000, "nested too deeply"),
        ('{"id": "a", "text": "t", "n": ' + "7" * 6000 + "}", "an integer of too many digits"),
        ('{"id": "a", "text": "half \\udc00 of it"}', "half of a surrogate pair"),
        ("x" * 70_000, "more than 65,536 bytes"),
        (None, "is not a regular file"),
    ],
)
def test_prompt_files(error_of, tiny_suite, tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "q.jsonl" if content is None or content[0] == "{" else tmp_path / "q.txt"
    os.mkfifo(file) if content is None else file.write_text(content)
    arguments = [*tiny_suite.arguments(tmp_path / "results", "base"), "--prompts", str(file)]
    assert words in error_of(2, *arguments)


@pytest.mark.parametrize("option", [["--samples", "100001"], ["--samples", "1000000000000"]])
def test_numbers_have_an_end_before_any_work(error_of, tiny_suite, tmp_path: Path, option: list[str]) -> None:
    sentence = error_of(2, *tiny_suite.arguments(tmp_path / "results", "base"), *option)
    assert "samples must be at most 100000" in sentence


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 4, "not enough memory"),
        (OSError(errno.ENOMEM, "x"), 4, "not enough memory"),
        (RuntimeError("can't start new thread"), 2, "no more threads"),
        (BlockingIOError(errno.EAGAIN, "x"), 2, "no more threads"),
        (OSError(errno.EMFILE, "x"), 2, "too many files are open"),
        (OSError(errno.ENAMETOOLONG, "x", "n" * 300), 2, "File name too long"),
        (RuntimeError("Symlink loop from 'a'"), 2, "leads back to itself"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(error: Exception, code: int, words: str) -> None:
    found = _sentence(error)
    assert found is not None
    assert found[1] == code
    assert words in found[0]


def test_a_bug_keeps_its_traceback() -> None:
    assert _sentence(RuntimeError("something else")) is None


@pytest.mark.slow
def test_a_finished_run_in_odd_hands(bench_command, error_of, tiny_suite, tmp_path: Path) -> None:
    """An edited suite leads nowhere outside, a copied folder is refused, a picture that is a folder is told."""
    results = tmp_path / "results"
    command = [*tiny_suite.arguments(results, "base"), "--limit", "2"]
    bench_command(*command)
    [run] = results.glob("runs/tiny/base@*")
    whole = shutil.copytree(run, tmp_path / "whole")
    data = json.loads((run / "manifest.json").read_text())
    report = ["report", "--results", str(results), "--out", str(tmp_path / "a/b/report")]
    for suite in ("../../../evil", "/tmp/evil", "other"):
        write_protected(run / "manifest.json", json.dumps(data | {"suite": suite}))
        assert "manifest.json" in error_of(2, *report)
    assert not list(tmp_path.rglob("*evil*"))
    resolved = data["resolved_suite"] | {"flavour": "new"}
    write_protected(run / "manifest.json", json.dumps(data | {"resolved_suite": resolved}))
    assert "unknown key 'flavour'" in error_of(2, "score", str(run), "--results", str(results))
    shutil.rmtree(run)
    shutil.copytree(whole, run)
    copied = shutil.copytree(run, run.with_name("refl@" + run.name.partition("@")[2]))
    assert f"is of run {run.name}, but lies in the folder of {copied.name}" in error_of(2, *report)
    shutil.rmtree(copied)
    picture = run / "images" / "red" / "0.png"
    folder(picture)
    told = bench_command("score", str(run), "--results", str(results)).stderr
    assert "red/0.png is unreadable (it is a folder)" in told
    assert "a folder of that name exists" in error_of(2, *command)
    picture.rmdir()
    bench_command(*command)
    assert (run / "images/red/0.png").read_bytes() == (whole / "images/red/0.png").read_bytes()
    shutil.rmtree(run / "images" / "red")
    rows = bench.load_results(results)
    assert rows["value"].notna().all()
