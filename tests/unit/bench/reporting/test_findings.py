"""What a report says beside its tables: training seeds, all pairs, dominance, profiles; in all of its files."""

from __future__ import annotations

import csv
import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.table.build import build
from bench.analysis.table.robust_rows import larger_reference, robust_of
from bench.analysis.tradeoff import pairs_of
from bench.reporting.findings import findings_of, found_files, markdown_parts
from bench.reporting.page import rendered
from bench.reporting.report import report
from bench.reporting.robust import pictures, robust_grids
from bench.reporting.sections import Material
from bench.reporting.tables import text
from bench.reporting.thumbnails import Pictures
from bench.store.runs import Run
from bench.store.select import open_runs

seeds = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "seeds.py"))
make, store, plain = seeds["fakes"]["make"], seeds["store"], seeds["plain"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    make(folder, "base", prompts=16, samples=2)
    make(folder, "combined", prompts=16, samples=2)
    for number in range(3):
        store(folder, "refl", number, prompts=16, samples=2)
    return folder


def runs_of(folder: Path) -> list[Run]:
    return open_runs(folder)[0]


def html(runs: list[Run], larger: Run | None = None) -> dict[str, str]:
    table = build(runs, n_resamples=50)
    names = [row.name for row in table.rows]
    pairs = pairs_of([row.run for row in table.rows], names)
    material = Material(table, pairs, Pictures({"mode": "none"}), b"", findings_of(table, larger))
    return {entry["id"]: str(entry["html"]) for entry in rendered(material)}


@pytest.mark.slow
def test_sections_are_there_where_they_have_something_to_say(results: Path) -> None:
    whole = html(runs_of(results))
    assert {"seeds", "pairs", "robust"} <= whole.keys()
    assert "3 checkpoints" in whole["seeds"]
    assert "over all checkpoints of a method" in whole["pairs"]
    assert "refl[replicate=1]" not in whole["pairs"]
    assert whole["robust"].count("<polyline") == 7 * 5  # a metric that is not a set metric, a run
    two = html([run for run in runs_of(results) if run.method in ("base", "combined")])
    assert not {"seeds", "pairs"} & two.keys()


@pytest.mark.slow
def test_methods_stand_beside_a_checkpoint_everywhere(results: Path) -> None:
    table = build(runs_of(results))
    row = next(row for row in table.methods if row.name == "refl")
    first = next(one for one in table.rows if one.name == "refl")
    printed = text(table)
    assert "over training seeds" in printed
    assert "refl (3 checkpoints)" in printed
    assert "first checkpoint" in printed
    assert row.cells["pickscore"].mean != first.cells["pickscore"].mean
    markdown = "\n".join(line for part in markdown_parts(table, findings_of(table)) for line in part)
    for heading in ("## Training seeds", "## All pairs", "## Beside the means", "### Joint dominance over base"):
        assert heading in markdown
    files = found_files(table, findings_of(table))
    assert set(files) == {"methods.csv", "pairs.csv", "ranks.csv", "robust.csv", "profiles.csv"}
    rows = list(csv.DictReader(str(files["methods.csv"]).splitlines()))
    found = next(one for one in rows if (one["method"], one["metric"]) == ("refl", "pickscore"))
    assert float(found["mean"]) == pytest.approx(row.cells["pickscore"].mean, rel=1e-5)
    assert found["checkpoints"] == "3"


@pytest.mark.slow
def test_files_of_an_earlier_report_do_not_stay(results: Path, tmp_path: Path) -> None:
    report(results, tmp_path, gallery=0, n_resamples=50)
    assert (tmp_path / "methods.csv").exists()
    assert 'id="pairs"' in (tmp_path / "index.html").read_text()
    two = [run for run in runs_of(results) if run.method in ("base", "combined")]
    report(two, tmp_path, gallery=0, n_resamples=50)
    assert not (tmp_path / "methods.csv").exists()
    assert not (tmp_path / "pairs.csv").exists()


def test_rates_need_the_same_noise_and_two_metrics() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(12, 2)) for name in ("m", "n")}
    noise = {"seed": 1, "sampler": {"steps": 4}}
    base = dataclasses.replace(plain("base", values), conditions=noise)
    other = dataclasses.replace(plain("refl", {k: v + 1 for k, v in values.items()}), conditions=noise)
    found = robust_of(build([base, other]))
    assert found.rates["refl"].dominates.mean == 1
    assert found.rates["refl"].metrics == ("m", "n")
    foreign = dataclasses.replace(other, conditions={})
    found = robust_of(build([base, foreign]))
    assert found.rates == {}
    assert "share their noise" in found.notes[0]
    one = dataclasses.replace(plain("refl", {"m": values["m"]}), conditions=noise)
    assert "two image metrics" in robust_of(build([base, one])).notes[0]


def larger_world(prompts: int = 20, many: int = 200, shift: float = 0.0) -> tuple[list[Run], Run]:
    """base and refl on few prompts, and base on many, of which the few are the first; `shift` moves the others."""
    rng = np.random.default_rng(1)
    hard = rng.normal(size=(many, 1))
    everywhere = hard + 0.1 * rng.normal(size=(many, 1))
    everywhere[prompts:] += shift
    refl = hard[:prompts] + 1 + 0.1 * rng.normal(size=(prompts, 1))
    runs = [plain("base", {"m": everywhere[:prompts]}), plain("refl", {"m": refl})]
    return runs, dataclasses.replace(plain("base", {"m": everywhere}), name="base@1")


def test_the_base_on_more_prompts_narrows_means_and_that_is_said() -> None:
    runs, many = larger_world()
    assert larger_reference(runs, [many], "base") is many
    table = build(runs)
    found = robust_of(table, many)
    cell, plainly = found.narrowed["refl"]["m"], table.rows[1].cells["m"]
    assert cell.high - cell.low < 0.5 * (plainly.high - plainly.low)
    assert found.narrowed["base"]["m"].n == 200
    grid = robust_grids(table, found)[-1]
    assert "200 prompts" in grid.title
    assert "random part" in grid.explanation
    assert table.rows[1].cells["m"] == build(runs).rows[1].cells["m"]  # the tables themselves stay


def test_prompts_that_are_no_random_part_are_refused() -> None:
    runs, many = larger_world(shift=3.0)
    found = robust_of(build(runs), many)
    assert found.narrowed == {}
    assert "scores otherwise on the other prompts" in found.notes[-1]


def test_only_the_same_base_is_larger() -> None:
    runs, many = larger_world()
    assert larger_reference(runs, [dataclasses.replace(many, samples=9)], "base") is None
    assert larger_reference(runs, [dataclasses.replace(many, method="refl")], "base") is None
    assert larger_reference(runs, [runs[0]], "base") is None
    assert larger_reference(runs[1:], [many], "base") is None


@pytest.mark.slow
def test_profiles_of_methods_of_one_colour_have_other_dashes(results: Path) -> None:
    table = build(runs_of(results))
    picture = pictures(table, robust_of(table))[0]
    looks = [(line.colour, line.dash) for line in picture.lines]
    assert len(set(looks)) == len(looks)


def test_names_are_escaped_on_the_page() -> None:
    rng = np.random.default_rng(2)
    runs = [plain(name, {"m": rng.normal(size=(12, 1))}) for name in ("base", "<b>odd</b>", "'\"x")]
    whole = html(runs)
    assert "<b>odd" not in whole["pairs"] + whole["robust"]
