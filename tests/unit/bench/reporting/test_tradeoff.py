"""The best of a column, fronts and the tables of what quality cost."""

from __future__ import annotations

import math
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.stats import Interval
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.analysis.tradeoff import AtEqual, Joint, joint_bootstrap, pairs_of
from bench.errors import UsageError
from bench.reporting.cells import DAGGER, MINUS
from bench.reporting.equal_cost import equal_cost_grid
from bench.reporting.report import report
from bench.reporting.tradeoff import _difference, _rough, band_of, fronts_of, grids, verdicts_on
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]
METRICS = ("image_reward", "pickscore", "lpips", "fid")


def means(reward: float, lpips: float, held_out: float) -> dict[str, float]:
    return {**fakes["MEANS"]["base"], "pickscore": reward, "lpips": lpips, "image_reward": held_out}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Joint]:
    folder = tmp_path_factory.mktemp("trade")
    options = {"prompts": 24, "samples": 2, "metrics": METRICS}
    make(folder, "base", **options, means=means(20.0, 0.41, 0.1))
    make(folder, "refl", **options, means=means(22.0, 0.21, 0.0))
    make(folder, "combined[switch_step=10]", **options, means=means(23.0, 0.25, 0.1))
    make(folder, "combined[switch_step=30]", **options, means=means(21.0, 0.35, 0.1))
    table = build(open_runs(folder)[0], n_resamples=300)
    return table, joint_bootstrap([r.run for r in table.rows], [r.name for r in table.rows], 300)


def test_the_best_is_marked_only_where_it_wins_every_comparison(judged: tuple[Table, Joint]) -> None:
    best = judged[0].best
    assert best["lpips"].name == "base"
    assert best["lpips"].significant
    assert best["pickscore"].name == "combined[switch_step=10]"
    assert not best["image_reward"].significant
    assert best["image_reward"].tied >= {"combined[switch_step=10]", "combined[switch_step=30]"} - {
        best["image_reward"].name
    }
    assert "fid" not in best  # equal, no interval: nothing was compared


def test_fronts_of_every_quality_against_every_diversity(judged: tuple[Table, Joint]) -> None:
    table, joint = judged
    found = fronts_of(joint, table)
    assert set(found) == {(x, y) for x in ("lpips", "fid") for y in ("image_reward", "pickscore")}
    front = found["lpips", "pickscore"]
    pairs = pairs_of([row.run for row in table.rows], [row.name for row in table.rows])
    verdicts = verdicts_on(pairs, front)
    assert verdicts["refl"] == "surely dominated"
    assert verdicts["base"] == "surely on the front"
    band = band_of(front)
    assert len(band["x"]) == len(band["low"]) == len(band["high"])


def test_prices_and_trade_at_equal_reward(judged: tuple[Table, Joint]) -> None:
    table, _ = judged
    pairs = pairs_of([row.run for row in table.rows], [row.name for row in table.rows])
    found = {grid.title: grid for grid in grids(pairs, table)}
    assert list(found) == [
        "Over-optimisation",
        "Differences of the over-optimisation index",
        "Price of PickScore (shapes)",  # ImageReward did not rise, so it has no price
        *(title for title in found if title.startswith("ImageReward")),
        "Diversity at equal PickScore (shapes)",  # no other method has a diversity that the sweep reaches
    ]
    price = dict(found["Price of PickScore (shapes)"].lines)
    assert price[("refl",)][0].value == "0.100"  # 0.2 of LPIPS for 2 of reward
    equal = found["Diversity at equal PickScore (shapes)"]
    assert equal.lines[0][0] == ("combined over switch_step", "refl")
    assert equal.lines[0][1][0].sign == "▲"  # 0.30 at a reward of 22, where refl has 0.21
    index = dict(found["Over-optimisation"].lines)[("refl", "PickScore (shapes)")][-1]
    assert float(index.value) > 1  # held-out reward fell


def test_over_optimisation_has_a_named_column_for_each_held_out_metric(tmp_path: Path) -> None:
    metrics = ("pickscore", "image_reward", "hpsv2.1", "attribute_accuracy")
    options: dict[str, Any] = {"prompts": 12, "samples": 2, "metrics": metrics}
    make(tmp_path, "base", **options)
    fallen = {**fakes["MEANS"]["refl"], "attribute_accuracy": 0.6}  # the rewards rise, this one falls
    make(tmp_path, "refl", **options, means=fallen)
    make(tmp_path, "draft", **options, means=fallen, trained_on=["image_reward"])
    table = build(open_runs(tmp_path)[0], n_resamples=300)
    pairs = pairs_of([row.run for row in table.rows], [row.name for row in table.rows])
    grid = next(grid for grid in grids(pairs, table) if grid.title == "Over-optimisation")
    names = ["ImageReward (shapes)", "HPSv2.1 (shapes)", "PickScore (shapes)", "Attribute accuracy (shapes)"]
    assert sorted(grid.head[3:-2]) == sorted(f"Gain in {name} ↑" for name in names)
    assert all(name in grid.explanation for name in names)
    assert "held-out rewards" not in grid.explanation
    cells = {names[0]: dict(zip(grid.head[2:], line, strict=True)) for names, line in grid.lines}
    assert cells["refl"]["Gain in HPSv2.1 (shapes) ↑"].value.startswith("+")
    assert cells["refl"]["Gain in ImageReward (shapes) ↑"].value.startswith("+")
    assert cells["refl"]["Gain in Attribute accuracy (shapes) ↑"].value.startswith(MINUS)
    assert cells["refl"]["Gain in PickScore (shapes) ↑"].mark == DAGGER
    assert cells["draft"]["Gain in PickScore (shapes) ↑"].mark == ""
    assert cells["draft"]["Gain in ImageReward (shapes) ↑"].mark == DAGGER


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "limits", "sign"),
    [
        (0.05, 0.15, 0.01, "[+0.05, +0.15]", "▲"),
        (0.05, 0.15, 0.2, "[+0.05, +0.15]", "△"),
        (-math.inf, -0.02, 0.01, f"at most {MINUS}0.02", "▼"),
        (-0.3, math.inf, 1.0, f"at least {MINUS}0.30", ""),
        (math.nan, math.nan, 1.0, "", ""),
    ],
)
def test_limits_of_a_sweep_and_their_marks(
    judged: tuple[Table, Joint], low: float, high: float, p_holm: float, limits: str, sign: str
) -> None:
    interval = Interval(0.1, low, high, 20, 0, 20)
    found = AtEqual(("a", "b"), "refl", "pickscore", "lpips", 0.2, 0.3, interval, p_holm)
    lpips = next(facts for facts in judged[0].metrics if facts.name == "lpips")
    cell = _difference(found, lpips, 2, p_holm)
    assert (cell.interval, cell.sign, cell.strong) == (limits, sign, sign in ("▲", "▼"))


def test_a_reference_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=2, metrics=("lpips",))
    make(tmp_path, "refl", prompts=2, metrics=("lpips",))
    with pytest.raises(UsageError, match="unknown method 'rfl'. Did you mean 'refl'"):
        report(tmp_path, tmp_path / "out", reference="rfl")


def test_a_column_without_any_interval_has_two_significant_digits() -> None:
    bare = Interval(-0.008355, math.nan, math.nan, 20, 0, 20, "too few")
    assert _rough([bare]) == 4
    assert _rough([bare, Interval(0.1, 0.05, 0.15, 20, 0, 20)]) == 3


def test_the_front_among_methods_that_cost_no_more(judged: tuple[Table, Joint]) -> None:
    """Who is dominated only by what costs more is on the front of its own cost; each line is a front of its own."""
    table, _ = judged
    per_image = {"base": 40, "refl": 20, "combined[switch_step=10]": 80}
    rows = []
    for row in table.rows:
        counts = {"images_generated": 48, "network_evaluations_needed": 48 * per_image.get(row.name, 0)}
        rows.append(replace(row, run=replace(row.run, counts=counts)))
    costly = replace(table, rows=tuple(rows))
    pairs = pairs_of([row.run for row in table.rows], [row.name for row in table.rows])
    facts = {one.name: one for one in table.metrics}
    found = equal_cost_grid(pairs, costly, facts["pickscore"], facts["lpips"])
    assert found is not None
    lines = {names[0]: [one.value for one in cells] for names, cells in found.lines}
    assert lines == {
        "20": ["1", "refl", "-", "-"],
        "40": ["2", "base, refl", "-", "-"],
        "80": ["3", "base, combined[switch_step=10]", "-", "refl"],
    }
    assert "left out: combined[switch_step=30]." in found.explanation
    assert equal_cost_grid(pairs, table, facts["pickscore"], facts["lpips"]) is None  # no cost is on record
    assert found.title in [grid.title for grid in grids(pairs, replace(costly, metrics=costly.metrics[1:]))]
