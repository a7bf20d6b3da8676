"""The best method of a metric: named where it can be compared, and nowhere else."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.reporting.cells import mean_cells
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for name in ("base", "refl"):
        make(tmp_path, name, prompts=16, samples=2, means=MEANS[name])
    return build(open_runs(tmp_path)[0], n_resamples=50)


def test_no_method_is_best_where_distances_are_not_estimable(table: Table) -> None:
    """FID on 32 images says nothing of which method is better: neither is bold, underlined, or level with the other."""
    assert {"fid", "pickscore"} <= {facts.name for facts in table.metrics}
    assert "fid" not in table.best
    assert table.best["pickscore"].name == "refl"
    columns = dict(zip((facts.name for facts in table.metrics), zip(*mean_cells(table), strict=True), strict=True))
    assert not any(cell.strong for cell in columns["fid"])
    assert any(cell.strong for cell in columns["pickscore"])
