"""The code of README and docs: what a reader copies has to work."""

from __future__ import annotations

import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import main

PAGES = runpy.run_path(str(Path(__file__).with_name("pages.py")))
ROOT: Path = PAGES["ROOT"]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES["PAGES"]]
# A verdict that fails is an answer, too. The longer ones have tests of their own (tests/e2e).
CODES = {"check": {0, 1}, "claims": {0, 1, 3}}
LONG = {"train", "score", "study", "watch"}
SLOW = {"README.md"}  # its Python generates


def with_code(language: str, run: bool = True) -> list[str]:
    """Names of the pages that have such blocks."""
    return [
        name
        for name, path in zip(NAMES, PAGES["PAGES"], strict=True)
        if any(block.language == language and not (run and block.reason) for block in PAGES["blocks"](path))
    ]


@pytest.fixture
def folder(invented_results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: results with thresholds, claims and a baseline."""
    index = invented_results.parent
    for name in ("thresholds", "claims"):
        shutil.copytree(ROOT / "results" / name, invented_results / name)
    baseline = invented_results / "baselines" / "shapes.json"
    bench.check(invented_results, baseline=baseline, update_baseline=True)
    shutil.copy(baseline, index / "before.json")
    inner = index / "here"
    inner.mkdir()
    shutil.move(invented_results, inner / "results")
    shutil.move(index / "before.json", inner / "before.json")
    (index / "baselines").mkdir()
    shutil.copy(inner / "before.json", index / "baselines" / "shapes.json")  # of gate.toml: ../baselines
    monkeypatch.chdir(inner)
    return inner


def write_files(name: str, folder: Path) -> list[str]:
    """The files that a page shows; returns their names."""
    shown = [block for block in PAGES["blocks"](ROOT / name) if block.file]
    for block in shown:
        (folder / block.file).write_text(block.code, encoding="utf-8")
    return [block.file for block in shown]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists_with_its_options(name: str) -> None:
    wrong = [
        f"{' '.join(words)}: {why}"
        for words in PAGES["commands"](ROOT / name)
        if (why := PAGES["what_is_wrong"](words))
    ]
    assert wrong == []
    assert len([*PAGES["commands"](ROOT / name)]) >= {"README.md": 15, "docs/gate.md": 5}.get(name, 0)


@pytest.mark.parametrize(
    "words", ["bench runn", "bench check --treshold x", "python benchmarks/nothing.py", "python -m bench.nothing"]
)
def test_a_wrong_command_is_found(words: str) -> None:
    assert PAGES["what_is_wrong"](words.split())


@pytest.mark.parametrize("name", with_code("bash"))
def test_short_commands_run(name: str, folder: Path, bench_command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench_command.folder = folder
    write_files(name, folder)
    for block in PAGES["blocks"](ROOT / name):
        for line in block.lines if block.language == "bash" and not block.reason else ():
            words = line.split()
            if words[0] != "bench" or words[1] in LONG:
                continue
            arguments = [*words[1:], "--dry-run"] if words[1] == "run" else words[1:]
            if "--plugin" in arguments:
                if words[1] != "run":
                    bench_command(*arguments)  # a Python of its own: what a page registers must not stay
                continue
            code = main(arguments)
            assert code in CODES.get(words[1], {0}), f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in with_code("python")]
)
def test_python_runs(name: str, folder: Path, bench_command: Any) -> None:
    bench_command.folder = folder
    for file in write_files(name, folder):
        if file.endswith(".py"):
            bench_command.python((folder / file).read_text(encoding="utf-8"))
    for block in PAGES["blocks"](ROOT / name):
        if block.language == "python" and not block.file and not block.reason:
            bench_command.python(block.code)


@pytest.mark.parametrize("name", with_code("toml", run=False))
def test_toml_is_read(name: str) -> None:
    for block in PAGES["blocks"](ROOT / name):
        if block.language == "toml":
            assert tomllib.loads(block.code)


def test_what_is_not_run_says_why() -> None:
    reasons = {block.reason for path in PAGES["PAGES"] for block in PAGES["blocks"](path) if block.reason}
    assert reasons
    known = ("network", "GPU", "needs ", "minutes", "judges the runs above")
    assert all(any(word in reason for word in known) for reason in reasons)
