"""Small versions of the simulations that ship in benchmarks/: what they promise is kept by the code as it stands."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


def lines_of(script: str) -> list[Any]:
    """The lines of a script, which imports its neighbours."""
    sys.path.insert(0, str(FOLDER))
    try:
        return list(runpy.run_path(str(FOLDER / script))["lines"]())
    finally:
        sys.path.remove(str(FOLDER))


def check(line: Any, trials: int) -> None:
    """The rate is not surely outside of what is wanted."""
    sys.path.insert(0, str(FOLDER))
    try:
        simulate = runpy.run_path(str(FOLDER / "simulate.py"))
    finally:
        sys.path.remove(str(FOLDER))
    hits, counted = simulate["run_line"](line, trials)
    low, high = simulate["binomial_limits"](hits, counted)
    assert low <= line.high, f"{line.name}: {hits} of {counted}"
    assert high >= line.low, f"{line.name}: {hits} of {counted}"


@pytest.mark.parametrize("line", lines_of("interval_coverage.py"), ids=lambda line: line.name)
def test_coverage(line: Any) -> None:
    if "wrong:" in line.name or "400 prompts" in line.name:
        pytest.skip("only in the whole simulation")
    check(line, 200)


@pytest.mark.parametrize("line", lines_of("family_error.py"), ids=lambda line: line.name)
def test_family_wise_error_and_power(line: Any) -> None:
    check(line, 200)


SCRIPTS = ("front_verdicts.py", "replicates_coverage.py", "overoptimisation_coverage.py", "robust_coverage.py")


@pytest.mark.parametrize("script", [*SCRIPTS, "all_pairs_error.py"])
def test_verdicts_of_several_methods(script: str) -> None:
    wanted = ("far methods, 32", "on the curve at 0.75", "seed 0.5, prompt 1.0, rest 0.5: 3", "index, normal, 32")
    wanted += ("mean, normal, 32", "rate, prompts differ by 1.0, 32", "truth, normal, correlation 0.9, 32")
    wanted += ("no method differs, normal, 32",)
    chosen = [line for line in lines_of(script) if any(text in line.name for text in wanted)]
    assert chosen
    for line in chosen:
        check(line, 100)


def test_a_line_goes_on_from_what_was_saved(tmp_path: Path) -> None:
    simulate = runpy.run_path(str(FOLDER / "simulate.py"))
    line = simulate["Line"]("a coin", lambda rng, count: rng.random(count) < 0.5, 0.4, 0.6, 200, 50)
    first = simulate["run_line"](line, 100, tmp_path / "saved.jsonl")
    again = simulate["run_line"](line, 200, tmp_path / "saved.jsonl")
    assert first[1] == 100 < again[1] == 200
    assert again == simulate["run_line"](line, 200)
    assert len((tmp_path / "saved.jsonl").read_text().splitlines()) == 4
