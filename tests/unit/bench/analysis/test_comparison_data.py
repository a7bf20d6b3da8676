"""`bench compare --json`: a structure that does not change."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from bench.analysis.compare import compare
from bench.analysis.comparison_data import (
    ChangedRow,
    ComparisonData,
    Family,
    MetricRow,
    TagRow,
)
from bench.errors import UsageError

make = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))["make"]


def test_every_key_is_there_and_nothing_else(tmp_path: Path) -> None:
    stores = [make(tmp_path, method, prompts=12) for method in ("base", "refl")]
    for store in stores:
        manifest = store.manifest()
        for index, prompt in enumerate(manifest.prompts):
            prompt["tags"] = ["odd" if index % 2 else "even"]
        store.write_manifest(manifest)
    found = compare(*stores)
    data = json.loads(json.dumps(found.data, allow_nan=False))
    assert set(data) == set(ComparisonData.__annotations__)
    assert set(data["family"]) == set(Family.__annotations__)
    assert data["family"]["tests"] == sum(row["p"] is not None for row in data["metrics"])
    assert data["metrics"]
    assert data["tags"]
    assert data["changed"]
    for row in data["metrics"]:
        assert set(row) == set(MetricRow.__annotations__)
    for row in data["tags"]:
        assert set(row) == set(TagRow.__annotations__)
        assert set(row["difference"]) == set(MetricRow.__annotations__)
    for row in data["changed"]:
        assert set(row) == set(ChangedRow.__annotations__)
    assert {row["better"] for row in data["metrics"]} <= {"a", "b", None}
    fid = next(row for row in data["metrics"] if row["metric"] == "fid")
    assert (fid["p"], fid["ci_low"], fid["better"]) == (None, None, None)
    assert "not estimable" in fid["reason"]


def test_the_metrics_that_are_named_are_the_family(tmp_path: Path) -> None:
    a, b = make(tmp_path, "base", prompts=12), make(tmp_path, "refl", prompts=12)
    whole, one = compare(a, b), compare(a, b, metrics=["pickscore"])
    assert len(whole.differences) > 1
    assert [difference.facts.name for difference in one.differences] == ["pickscore"]
    assert one.differences[0].p_holm == one.differences[0].paired.p
    assert one.data["family"]["tests"] == 1
    with pytest.raises(UsageError, match=r"unknown metric 'pikscore'. Did you mean 'pickscore'"):
        compare(a, b, metrics=["pikscore"])
