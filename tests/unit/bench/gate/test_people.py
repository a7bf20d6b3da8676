"""Bounds on what people say: judged on a study's votes, and told why where they cannot be."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import bench
from bench.errors import UsageError
from bench.study.people import people_of
from tests.unit.bench.study.made import METHODS, simulated, write_study

make = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))["make"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for method in METHODS:
        make(folder, method, metrics=("pickscore",), prompts=4)
    votes = simulated(quality=(0.0, 0.1, 1.6), raters=16, prompts=20)
    write_study(folder / "study", votes)
    return folder


def verdicts(results: Path, text: str, study: Path | None) -> list[tuple[str, str]]:
    file = results / "limits.toml"
    file.write_text(text, encoding="utf-8")
    found = bench.check(results=results, thresholds=file, study=study)
    return [(one.status, one.message) for one in found]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("[imagerefl.human_preference]\nmin = 0.5\n", "passed"),
        ('[imagerefl.human_preference]\nmin = 0.5\nover = "base"\n', "passed"),
        ('[base.human_preference]\nmin = 0.5\nover = "imagerefl"\n', "failed"),
        ('[refl.human_preference]\nmin = 0.5\nover = "base"\n', "undecided"),
        ('[base.human_preference]\nmax = 0.5\nover = "imagerefl"\n', "passed"),
    ],
)
def test_bounds_are_held_against_the_votes(results: Path, text: str, status: str) -> None:
    ((found, message),) = verdicts(results, text, results / "study")
    assert found == status
    assert ("bench study report" in message) == (status == "undecided")


def test_the_value_is_the_win_rate(results: Path) -> None:
    file = results / "one.toml"
    file.write_text('[imagerefl.human_preference]\nmin = 0.5\nover = "base"\n')
    (verdict,) = bench.check(results=results, thresholds=file, study=results / "study")
    people = people_of(results / "study")
    assert people is not None
    rate, _ = people.win_rate("human_preference", "imagerefl", "base")
    assert rate is not None
    assert (verdict.value, verdict.ci_low, verdict.ci_high) == (rate.mean, rate.low, rate.high)
    assert (verdict.name, verdict.line) == ("human_preference over base min 0.5", 2)


def test_other_metrics_are_judged_beside(results: Path) -> None:
    text = "[refl.pickscore]\nmin = 0\n[refl.human_preference]\nmin = 0.01\n"
    assert [status for status, _ in verdicts(results, text, results / "study")] == ["passed", "passed"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[refl.human_preference]\nmin = 0.5\n", "pass the folder of a study with --study"),
        ("[refl.human_diversity]\nmin = 0.5\n", "no votes of the task diversity"),
        ('[refl.human_preference]\nmin = 0.5\nover = "combined"\n', "no votes on combined"),
    ],
)
def test_without_votes_it_is_missing_and_says_why(results: Path, text: str, told: str) -> None:
    ((status, message),) = verdicts(results, text, None if "--study" in told else results / "study")
    assert status == "missing"
    assert told in message


def test_another_run_than_people_saw_is_not_judged(results: Path, tmp_path: Path) -> None:
    rows = [{"name": name, "run": f"{name}@00000000"} for name in METHODS]
    study = write_study(tmp_path / "study", simulated(), methods=rows)
    ((status, message),) = verdicts(results, "[refl.human_preference]\nmin = 0.1\n", study)
    assert status == "missing"
    assert "people saw the run refl@00000000, not refl@" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[refl.human_preference]\nmax_drop = 0.1\n", "line 2: [refl.human_preference] takes min, max and over"),
        ('[refl.human_preference]\nover = "base"\n', "needs min or max"),
        ('[refl.human_preference]\nmin = 0.5\nover = "bas"\n', "line 3: [refl.human_preference] over: unknown method"),
        ('[refl.human_preference]\nmin = 0.5\nover = "refl"\n', "other than refl itself"),
        ("[refl.human_preference]\nmin = 0.5\nover = 3\n", "must be the name of a method"),
        ('[refl.pickscore]\nmin = 0.5\nover = "base"\n', "unknown key 'over'"),
        (
            '[refl.dominates]\nover = "base"\non = ["human_preference"]\n',
            "human_preference is not judged: write",
        ),
    ],
)
def test_what_is_written_wrong_is_named(results: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        verdicts(results, text, results / "study")
    assert told in str(error.value)
