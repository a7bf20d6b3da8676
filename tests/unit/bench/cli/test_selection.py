"""Which run a name means: ids, given names, methods, the newest finished one; folders do not hide runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.store.select import open_runs, run_stores, select


def make(results: Path, suite: str, run: str, day: int, **facts: Any) -> Path:
    method, _, hash8 = run.partition("@")
    store = RunStore.create(results, suite, method, hash8)
    given = {"method": method, "status": "complete", **facts}
    manifest = Manifest(
        suite=suite,
        run=run,
        identity={},
        resolved_suite={},
        resolved_method={},
        prompts=[{"id": "a", "text": "x"}],
        samples=1,
        provenance={"created": f"2026-01-{day:02d}"},
        **given,
    )
    store.write_manifest(manifest)
    return store.path


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    make(results, "shapes", "base@11111111", 1)
    make(results, "shapes", "refl@22222222", 3)
    make(results, "shapes", "refl@33333333", 2, name="nightly")
    make(results, "shapes", "refl@44444444", 4, status="running")
    make(results, "other", "base@55555555", 5)
    make(results, "other", "refl-weights-x@66666666", 1, method="dpo")
    return results


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_path_wins(results: Path) -> None:
    path = results / "runs" / "shapes" / "base@11111111"
    assert select([str(path)], results) == [path]


@pytest.mark.parametrize(
    ("name", "suite", "found"),
    [
        ("refl@33333333", None, "refl@33333333"),
        ("nightly", None, "refl@33333333"),
        ("refl", None, "refl@22222222"),  # the newest is not finished
        ("base", None, "base@55555555"),
        ("base", "shapes", "base@11111111"),
        ("dpo", None, "refl-weights-x@66666666"),
        ("refl-weights-x", None, "refl-weights-x@66666666"),
    ],
)
def test_a_name_is_the_newest_finished_run(results: Path, name: str, suite: str | None, found: str) -> None:
    assert names(select([name], results, suite)) == [found]
    (run,), _, named = open_runs(name, results, suite)
    assert (run.name, named) == (found, True)


def test_which_one_it_is_is_said(results: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        select(["refl", "base", "nightly"], results)
    assert [record.getMessage() for record in caplog.records] == [
        "'refl' is refl@22222222 of suite shapes, the newest of 2 finished runs",
        "'base' is base@55555555 of suite other, the newest of 2 finished runs (of the suites other, shapes; --suite "
        "chooses)",
    ]


def test_the_gate_takes_the_newest_finished_or_not(results: Path) -> None:
    runs, left_out, named = open_runs(["refl", "base"], results, "shapes", unfinished_too=True)
    assert ([run.name for run in runs], named) == (["base@11111111"], True)
    assert [(one.run, one.finished) for one in left_out] == [("refl@44444444", False)]


def test_a_given_name_wins_over_a_method(results: Path) -> None:
    make(results, "shapes", "draft@77777777", 1, name="refl")
    assert names(select(["refl"], results)) == ["draft@77777777"]


def test_a_folder_beside_hides_no_run(results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "refl").mkdir()
    with caplog.at_level(logging.INFO):
        (run,), _, _ = open_runs("refl", results)
    assert run.name == "refl@22222222"
    assert "'refl' is the run of that name; the folder is ./refl" in caplog.text
    make(tmp_path / "mine", "shapes", "base@88888888", 1)
    assert [store.name for store in run_stores("mine", results)] == ["base@88888888"]
    with pytest.raises(UsageError, match="no finished runs in"):
        open_runs("./refl", results)


def test_unknown_names_get_a_suggestion(results: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'base'"):
        select(["bas"], results)
    with pytest.raises(UsageError, match="unknown run 'base': there are no runs of suite 'none'"):
        select(["base"], results, "none")


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no runs"):
        select(["base"], tmp_path)
