"""A suite that names a class of torchmetrics: run, table, report, and another class under the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

SUITE = """
label = "shapes"
prompts = "shapes"
resolution = 64
samples = 2
[model]
weights = "shapes:pipeline"
[sampler]
steps = 2
[metrics.smooth]
torchmetrics = "{path}"
{options}
"""


@pytest.mark.slow
def test_a_class_of_torchmetrics_is_a_metric(tiny_suite, run_bench, tidy, tmp_path: Path) -> None:
    suite, results = tmp_path / "mine.toml", tmp_path / "results"
    suite.write_text(SUITE.format(path="image.TotalVariation", options=""))
    arguments = ("run", "--suite", suite, "--method", "base", "--limit", 2, "--results", results, "--device", "cpu")
    said = run_bench(*arguments)
    assert "smooth" in said.stdout
    rows = tidy(results)
    assert rows["value"].notna().sum() == 4
    assert set(rows["metric"]) == {"smooth"}
    assert "nothing to do" in run_bench(*arguments).stderr
    suite.write_text(SUITE.format(path="image.StructuralSimilarityIndexMeasure", options=""))
    run_bench(*arguments)  # another class under the same name: its values are made anew
    rows = tidy(results)
    assert set(rows["kind"]) == {"group"}
    assert len(rows) == 2
    run_bench("report", "--results", results, "--out", tmp_path / "report")
    assert "smooth" in (tmp_path / "report" / "table.md").read_text()
