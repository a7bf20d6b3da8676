"""`bench study report`: what it prints and writes, and mistakes as one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from tests.unit.bench.study.made import simulated, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("cli") / "study", simulated())


def test_it_prints_and_writes(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "report", str(study)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("preference: 120 votes of 8 raters on 10 prompts\n")
    assert max(map(len, out.splitlines())) <= 80
    assert f"wrote {study / 'report' / 'study.png'}" in err


@pytest.mark.slow
def test_json_is_the_file(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "report", str(study), "--json", "--out", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "report.json").read_text())


@pytest.mark.parametrize(
    ("line", "told", "code"),
    [("", "no votes yet", 4), ('{"item": 1}\n', "vote 1 has no left", 2), ("{\n", "line 1", 2)],
)
def test_mistakes_are_one_sentence(
    line: str, told: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.json").write_text("{}")
    if line:
        (tmp_path / "votes.jsonl").write_text(line)
    assert main(["study", "report", str(tmp_path)]) == code
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_no_study_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "report", str(tmp_path)]) == 4
    assert "is no study" in capsys.readouterr().err
