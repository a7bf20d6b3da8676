"""Small versions of the simulations that ship in benchmarks/: what they promise is kept by the code as it stands."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


def load(script: str) -> dict[str, Any]:
    """The names of a script, which imports its neighbours."""
    sys.path.insert(0, str(FOLDER))
    try:
        return runpy.run_path(str(FOLDER / script))
    finally:
        sys.path.remove(str(FOLDER))


def lines_of(script: str) -> list[Any]:
    return list(load(script)["lines"]())


def check(line: Any, trials: int) -> None:
    """The rate is not surely outside of what is wanted; a rate of a mean over few trials is not judged."""
    simulate = load("simulate.py")
    found = simulate["run_line"](line, trials)
    if found.trials < 20:
        return
    low, high = found.limits(line.mean)
    slack = 0.02 if line.mean else 0.0  # limits of a mean of few trials are approximate
    assert low - slack <= line.high, f"{line.name}: {found}"
    assert high + slack >= line.low, f"{line.name}: {found}"


CHOSEN = {
    "interval_coverage.py": (
        "normal, 32",
        "exponential), 32",
        "lognormal(1.2), 32",
        "texts as prompts, 32",
        "0.97, shares of 20, 32",
    ),
    "family_error.py": ("normal, none", "exponential), ", "lognormal 0.55), none true, 32", "t, 2.1"),
    "front_verdicts.py": (": far, ", "twins, any wrong, 32", "metric, any wrong, 32", "setting (0.5), 32", "0.5 above"),
    "replicates_coverage.py": ("seed 0.5, prompt 1.0, rest 0.5: 3",),
    "overoptimisation_coverage.py": ("index, normal, 32",),
    "robust_coverage.py": (
        "mean, normal, 32",
        "rate, prompts differ by 1.0, 32",
        "truth, normal, correlation 0.9, 32",
    ),
    "all_pairs_error.py": ("no method differs, normal, 32",),
    "missing_values.py": ("an accuracy, worst fifth", "a reward, at random, gate", "reward, marked"),
    "nightly_gate.py": ("normal, caught", "normal, baseline renewed when better", "exponential), prompts added"),
    "adaptive_runs.py": ("exponential), against, error, N = 32", "exponential), against, part made, N = 128"),
    "untuned_worlds.py": (
        "Laplace, none true, 32",
        "79 % zeros, none true, 32",
        "one prompt in 3 changes by 1, noise 0.3, 32",
    ),
}
SLOW = ("missing_values.py", "front_verdicts.py")


def chosen() -> list[Any]:
    found = []
    for script, texts in CHOSEN.items():
        lines = [line for line in lines_of(script) if any(text in line.name for text in texts)]
        assert lines, script
        marks = [pytest.mark.slow] if script in SLOW else []
        found += [pytest.param(line, id=line.name, marks=marks) for line in lines]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("line", chosen())
def test_what_a_simulation_promises(line: Any) -> None:
    check(line, 100)


def test_a_line_goes_on_from_what_was_saved(tmp_path: Path) -> None:
    simulate, saved = load("simulate.py"), tmp_path / "saved.jsonl"
    line = simulate["Line"]("a coin", lambda rng, count: rng.random(count) < 0.5, 0.4, 0.6, 200, 50)
    first = simulate["run_line"](line, 100, saved)
    again = simulate["run_line"](line, 200, saved)
    assert (first.trials, again.trials) == (100, 200)
    assert again == simulate["run_line"](line, 200)
    assert len(saved.read_text().splitlines()) == 4
    with pytest.raises(LookupError, match="no part 0 of the line 'a coin' at commit abcdef01"):
        simulate["run_line"](line, 200, saved, "abcdef01", make=False)  # another commit has seeds of its own


def test_tables_say_what_is_missed() -> None:
    simulate = load("simulate.py")
    cell, run_line = simulate["cell"], simulate["run_line"]
    lines = [
        cell("coins", "fair", "heads", lambda rng, count: rng.random(count) < 0.5, 0.4, 0.6, trials=400),
        cell("coins", "fair", "weight", lambda rng, count: rng.normal(1.2, 0.1, count), 0.0, 1.5, mean=True, unit="x"),
        cell("coins", "bent", "heads", lambda rng, count: rng.random(count) < 0.9, 0.4, 0.6, trials=400),
    ]
    text = simulate["tables"](lines, {line.name: run_line(line, 400) for line in lines})
    fair, bent = text.splitlines()[2:]
    assert text.startswith("| coins | heads | weight | trials | wanted |")
    assert "missed" not in fair
    assert "40-60 %; at most 1.5" in fair
    assert "1.20 (1.19-1.2" in fair
    assert "**missed**" in bent
