"""Which cells of the tables are marked: the best of a column, and differences after the correction."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.differences import difference
from bench.analysis.extrapolation import block_mean
from bench.analysis.stats import Interval
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.reporting.cells import clear_of_zero, difference_cells, number
from bench.reporting.latex import latex
from bench.reporting.tables import differences_csv, markdown

run = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "plain_runs.py"))["run"]


def test_a_method_that_loses_every_pair_is_not_the_best_for_its_easier_prompts() -> None:
    rng = np.random.default_rng(0)
    prompt = np.where(np.arange(40) < 20, 0.0, 10.0)[:, None] + rng.normal(size=(40, 2))
    better, lucky = prompt + 1 + 0.05 * rng.normal(size=(40, 2)), prompt.copy()
    lucky[:20] = math.nan  # only its easy prompts could be scored, so its mean is higher
    runs = [run("base", {"m": better}), run("refl", {"m": lucky})]
    change = difference(*runs, "m")
    assert change.b > change.a
    assert change.interval.high < 0
    assert change.better == ""  # half of the pairs are not there: with the worst case in them nothing is decided
    assert "40 values are scored on one side only" in change.undecided
    best = build(runs, n_resamples=300).best["m"]
    assert best.name == "refl"
    assert best.tied == {"base"}
    assert not best.significant


def noisy(methods: int, prompts: int = 40) -> Table:
    """Two true differences among many that are only chance; the column's noise differs by method."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(prompts, 2))
    effects = [0.0, 3.0, 3.0] + [0.0] * (methods - 3)
    runs = [
        run(
            "base" if i == 0 else f"m{i:02d}",
            {name: shared + effect + rng.normal(size=(prompts, 2)) for name in ("a", "b", "c")},
        )
        for i, effect in enumerate(effects)
    ]
    return build(runs, n_resamples=500)


@pytest.fixture(scope="module")
def many() -> Table:
    return noisy(45)


@pytest.mark.slow
def test_full_marks_only_for_what_survives_holm_over_the_whole_table(many: Table) -> None:
    names, cells = difference_cells(many)
    full = {name for name, line in zip(names, cells, strict=True) for cell in line if cell.sign in ("▲", "▼")}
    hollow = [cell for line in cells for cell in line if cell.sign in ("△", "▽")]
    assert full == {"m01", "m02"}  # of 132 tests
    assert hollow  # chance: 5 % of 126 cells
    assert not any(cell.strong for cell in hollow)
    assert {cell.tone for cell in hollow} <= {"better unsure", "worse unsure"}
    assert all(cell.strong and cell.tone in ("better", "worse") for cell in cells[0])
    p = sorted(one.p_holm for line in many.differences.values() for one in line)
    assert p[6] > 0.05 > p[5]


@pytest.mark.slow
def test_the_files_say_what_their_marks_mean(many: Table) -> None:
    text, tex = markdown(many), latex(many)
    for one in (text, tex):
        assert "Holm's correction over the whole table" in one
    hollow = next(line for line in text.splitlines() if "△" in line and line.startswith("| m"))
    assert "**" not in hollow.split("△")[0].rsplit("|", 1)[1]
    assert r"\textit{" in tex
    rows = [line.split(",") for line in differences_csv(many).splitlines()]
    p, corrected = rows[0].index("p"), rows[0].index("p_holm")
    assert all(float(row[corrected]) >= float(row[p]) for row in rows[1:])


def test_set_metrics_are_tested_by_their_jackknife_blocks() -> None:
    rng = np.random.default_rng(1)
    values = {"m": rng.normal(size=(16, 2))}
    blocks = 20 + 0.02 * rng.normal(size=8)
    runs = [run("base", values, {"fid": blocks}), run("refl", values, {"fid": blocks + 3 + 0.01 * rng.normal(size=8)})]
    change = {one.facts.name: one for one in build(runs, n_resamples=300).differences["refl"]}["fid"]
    assert 0 < change.paired.p < 0.001
    assert change.p_holm == pytest.approx(2 * change.paired.p)  # two tests, this one the surer
    assert change.sure


def test_the_p_value_of_an_interval_that_just_touches_zero() -> None:
    blocks = np.array([1.0, 1.2, 0.9, 1.1, 1.3])
    half = block_mean(1.0, blocks, 10).interval().high - 1.0
    assert block_mean(half, blocks, 10).p() == pytest.approx(0.05)
    assert math.isnan(block_mean(1.0, [], 1).p())


def test_an_interval_that_excludes_zero_is_not_printed_as_touching_it() -> None:
    touching = Interval(0.21, 0.004, 0.42, 40, 0, 40)
    assert clear_of_zero(touching, 2) == 3
    assert number(touching.low, clear_of_zero(touching, 2), signed=True) == "+0.004"
    assert clear_of_zero(Interval(0.21, -0.004, 0.42, 40, 0, 40), 2) == 2
