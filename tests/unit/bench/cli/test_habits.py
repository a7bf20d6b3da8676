"""What users of other commands expect: -V, -q, -v, completion, suggestions, list, rm, defaults of the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.run_store import find_runs
from tests.unit.bench.cli.test_selection import make


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    make(results, "shapes", "base@11111111", 1)
    make(results, "shapes", "refl@22222222", 3, name="nightly")
    make(results, "shapes", "refl@33333333", 2, status="running")
    return results


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "-V") == out(capsys, "--version")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--methd", "base"], "No such option: --methd. Did you mean '--method'? See 'bench run --help'."),
        (["score", "--alow-lossy"], "Did you mean '--allow-lossy'?"),
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list", "runs", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["-q", "-v", "list"], "--quiet and --verbose contradict each other"),
        (["list", "rnus"], "Did you mean 'runs'?"),
        (["reference", "mak", "x", "--out", "y.npz"], "unknown action 'mak'. Did you mean 'make'?"),
    ],
)
def test_slips(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in out(capsys, *arguments, code=2)


def test_list_runs(results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = out(capsys, "list", "runs").splitlines()
    assert table[0].split() == ["suite", "run", "name", "prompts", "images", "finished", "date", "size"]
    assert [line.split()[:6] for line in table[2:]] == [
        ["shapes", "base@11111111", "-", "1", "0", "yes"],
        ["shapes", "refl@22222222", "nightly", "1", "0", "yes"],
        ["shapes", "refl@33333333", "-", "1", "0", "no"],
    ]
    rows = json.loads(out(capsys, "list", "runs", "--json"))
    assert [row["name"] for row in rows] == ["", "nightly", ""]
    assert [row["finished"] for row in rows] == [True, True, False]
    assert all(row["bytes"] > 0 for row in rows)
    monkeypatch.setenv("BENCH_RESULTS", str(results.with_name("elsewhere")))
    assert json.loads(out(capsys, "list", "runs", "--json")) == []
    assert json.loads(out(capsys, "list", "runs", "--json", "--results", str(results))) == rows


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    suites = json.loads(out(capsys, "list", "suites", "--json"))
    assert {"shapes", "images"} <= {row["suite"] for row in suites}


def test_rm(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'refl' fits 2 runs (refl@22222222, refl@33333333): name those to remove by" in out(
        capsys, "rm", "base", "refl", code=2
    )
    assert len(find_runs(results)) == 3  # nothing before everything is known
    (results / "runs" / "mine").mkdir()
    for wrong in (str(results / "runs" / "mine"), str(results)):
        assert "is not a run" in out(capsys, "rm", wrong, code=2)
    assert out(capsys, "rm", "nightly", str(results / "runs" / "shapes" / "base@11111111")).count("removed ") == 2
    assert [store.name for store in find_runs(results)] == ["refl@33333333"]
    assert "unknown run 'base'" in out(capsys, "rm", "base", code=2)


def test_options_are_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "score", "check"):
        text = out(capsys, command, "--help")
        places = [text.index(f"\n{title}:\n") for title in ("What is evaluated", "Where it goes", "Options")]
        assert places == sorted(places)
    assert "\nWhat is evaluated:" not in out(capsys, "rm", "--help")


def test_completion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--install-completion" in out(capsys, "--help")


def test_doctor_for_a_suite(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_PROMPTS", str(tmp_path))
    assert out(capsys, "doctor", "--suite", "shapes") == "suite shapes: everything is here\n"
    assert main(["doctor", "--suite", "sd15-coco"]) == 4
    said = capsys.readouterr().out
    for thing in ("base model", "tuned weights", "metric fid", "prompts", "reference images", "unknown"):
        assert thing in said
