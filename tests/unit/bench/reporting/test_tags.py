"""A table per tag: means over the tag's prompts, differences corrected over all tables together."""

from __future__ import annotations

import csv
import io
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.by_tag import tag_differences, tag_differences_against
from bench.analysis.differences import corrected
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.reporting import tags as module
from bench.reporting.tags import tags_csv, tags_of, tags_section
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
METRICS = ("pickscore", "lpips", "fid")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("tags")
    for method in ("base", "refl", "imagerefl"):
        fakes["make"](folder, method, prompts=24, samples=2, metrics=METRICS, tags=("day", "night", "dusk"))
    return build(open_runs(folder)[0], n_resamples=50)


def test_the_differences_are_those_of_compare_in_one_family(table: Table) -> None:
    base, *others = [row.run for row in table.rows]
    lines = tag_differences_against(base, others, ["day", "night", "dusk"])
    alone = [one for other in others for one in tag_differences(base, other)]
    flat = [one for line in lines for one in line]
    assert [(one.tag, one.difference.facts.name) for one in flat] == [(o.tag, o.difference.facts.name) for o in alone]
    assert [one.difference.interval.mean for one in flat] == [one.difference.interval.mean for one in alone]
    together = corrected([one.difference for one in alone])
    assert [one.difference.p_holm for one in flat] == [one.p_holm for one in together]
    assert len(flat) == 2 * 2 * 3  # methods, metrics but FID, tags


def test_a_cell_has_the_mean_over_the_prompts_of_the_tag(table: Table) -> None:
    filled = tags_section(table, tags_of(table))
    assert filled is not None
    assert [(block["tag"], block["prompts"]) for block in filled["blocks"]] == [("day", 8), ("dusk", 8), ("night", 8)]
    night = next(block for block in filled["blocks"] if block["tag"] == "night")
    for row, cells in night["lines"]:
        scores = row.run.rows("pickscore")
        kept = [prompt for prompt, tags in row.run.tags.items() if "night" in tags]
        assert cells[0].value == pytest.approx(scores[scores["prompt_id"].isin(kept)]["value"].mean(), rel=1e-9)
        assert (cells[0].difference is None) is (row.name == "base")
    assert filled["told"] == ["FID: one value for the whole set, none per tag"]
    assert "all 12 differences of all tags" in filled["how"]


def test_tags_without_a_table_are_named(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    tags = tags_of(table)
    filled = tags_section(table, tags)
    assert tags is not None
    assert filled is not None
    assert tags.left_out == ("night",)
    assert filled["told"][1] == "1 tag with fewer prompts without a table: night"


def test_tags_csv_has_a_row_per_tag_metric_and_method(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(tags_csv(table, tags_of(table)))))
    assert len(rows) == 12
    assert {row["reference"] for row in rows} == {"base"}
    assert all(np.isfinite(float(row["difference"])) for row in rows)


def test_without_tags_or_reference_there_is_nothing(tmp_path: Path) -> None:
    fakes["make"](tmp_path, "base", prompts=4, metrics=METRICS)
    fakes["make"](tmp_path, "refl", prompts=4, metrics=METRICS)
    runs = open_runs(tmp_path)[0]
    assert tags_of(build(runs, n_resamples=50)) is None
    assert tags_of(build(runs[:1], n_resamples=50)) is None
    assert tags_csv(build(runs, n_resamples=50), None) == ""
