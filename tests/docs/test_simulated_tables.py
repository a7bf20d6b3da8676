"""The tables of simulations in docs/ are those of the figures that are kept in results/simulations, to the digit."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "results" / "simulations"
PAGES = ("statistics", "gate", "study")
NOT_KEPT = {  # commands of these pages whose figures are not kept: they measure this machine, or take long
    "all_pairs_error",
    "bootstrap_time",
    "evaluations_per_decision",
    "replicates_coverage",
    "robust_coverage",
    "study_load",
}


PARTLY = {"nightly_gate": "4 lines, by the gate's verdicts"}
"""Of these, lines with this in their names have no figures, or too few, that are kept; the page gives them in words."""


def commands() -> list[tuple[str, str, str, int]]:
    """(page, script, --only, --trials or 0) of every command that these pages give."""
    found = {}
    for page in PAGES:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        for name, options in re.findall(r"`python benchmarks/(\w+)\.py([^`]*)`", text):
            trials, only = re.search(r"--trials (\d+)", options), re.search(r'--only "([^"]+)"', options)
            if "--votes" not in options:
                found[page, name, only[1] if only else ""] = int(trials[1]) if trials else 0
    return [(*where, trials) for where, trials in found.items()]


def load(script: str) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return runpy.run_path(str(ROOT / "benchmarks" / f"{script}.py"))
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def tables_of(script: str, only: str, trials: int) -> list[str]:
    """The tables that the command would print of what is kept."""
    simulate, names, saved = load("simulate"), load(script), SAVED / f"{script}.jsonl"
    rows = [json.loads(line) for line in saved.read_text(encoding="utf-8").splitlines()]
    (commit,) = {row["commit"] for row in rows}
    if "lines" not in names:
        return [names["table"](names["CASES"], saved, commit, make=False)]
    found, lines = {}, []
    for line in [line for line in names["lines"]() if only in line.name]:
        try:
            found[line.name] = simulate["run_line"](line, trials or line.trials, saved, commit, make=False)
        except LookupError:
            assert script in PARTLY, f"no figures of {line.name}"
            assert PARTLY[script] in line.name
            continue
        lines.append(line)
    groups = dict.fromkeys(line.group for line in lines)
    return [simulate["tables"]([line for line in lines if line.group == group], found) for group in groups]


@pytest.mark.parametrize(
    ("page", "script", "only", "trials"), [one for one in commands() if one[2] or one[1] not in NOT_KEPT]
)
def test_tables_are_those_of_the_figures_that_are_kept(page: str, script: str, only: str, trials: int) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    rows = [row for table in tables_of(script, only, trials) for row in table.strip().splitlines()]
    assert len(rows) > 2
    missing = [row for row in rows if row not in text.splitlines()]
    assert not missing, f"docs/{page}.md lacks what `python benchmarks/{script}.py` comes to: {missing[:3]}"


def test_commands_without_kept_figures_are_these_and_no_others() -> None:
    without = {script for _, script, only, _ in commands() if not only and script in NOT_KEPT}
    assert without == NOT_KEPT
    kept = {path.stem for path in SAVED.glob("*.jsonl")}
    assert kept - {script for _, script, _, _ in commands()} <= {"study_adaptive_votes"}
