from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.store.select import select


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for suite, run in [("shapes", "base@11111111"), ("shapes", "refl@22222222"), ("shapes", "refl@33333333")]:
        folder = tmp_path / "results" / "runs" / suite / run
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    return tmp_path / "results"


def test_a_path_wins(results: Path) -> None:
    path = results / "runs" / "shapes" / "base@11111111"
    assert select([str(path)], results) == [path]


def test_full_names_and_methods(results: Path) -> None:
    found = select(["refl@33333333", "base"], results)
    assert [path.name for path in found] == ["refl@33333333", "base@11111111"]


def test_a_method_with_several_runs_is_ambiguous(results: Path) -> None:
    with pytest.raises(UsageError, match=r"refl@22222222.*refl@33333333"):
        select(["refl"], results)


def test_unknown_names_get_a_suggestion(results: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'base'"):
        select(["bas"], results)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no runs"):
        select(["base"], tmp_path)
