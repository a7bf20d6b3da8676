"""Every printed table, character by character, from fixed scores. GOLDEN=write pytest tests/golden writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.compare import Comparison
from bench.analysis.differences import differences
from bench.analysis.table.build import build
from bench.analysis.table.rows import Table
from bench.reporting.comparison import comparison_text
from bench.reporting.latex import latex
from bench.reporting.tables import differences_csv, markdown, means_csv, scores_csv, text
from bench.store.runs import MetricFacts, Run, tidy_types

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "judging" / "scores.csv"

METRICS = {
    "pickscore": MetricFacts("pickscore", "PickScore", "image", "higher", label="shapes", digest="a"),
    "lpips": MetricFacts("lpips", "LPIPS diversity", "group", "higher", label="shapes", digest="b"),
    "fid": MetricFacts("fid", "FID", "set", "lower", label="shapes", digest="c"),
}


@pytest.fixture(scope="module")
def table() -> Table:
    scores = tidy_types(pd.read_csv(DATA))
    runs = [
        Run(
            suite="shapes",
            method=str(method),
            name=f"{method}@{number:08x}",
            path=Path(str(method)),
            prompts=tuple((f"p{i}", f"a red circle, number {i}") for i in range(1, 5)),
            samples=2,
            n_images=8,
            trained_on=() if method == "base" else ("pickscore",),
            metrics=METRICS,
            scores=rows.drop(columns="method").reset_index(drop=True),
            title="Shapes",
            conditions={"seed": 42, "sampler": {"scheduler": "DDIMScheduler", "steps": 40}, "sampling_version": 1},
        )
        for number, (method, rows) in enumerate(scores.groupby("method", sort=False))
    ]
    return build(runs)


def compare(name: str, found: str) -> None:
    path = HERE / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("table.md", markdown),
        ("table.tex", latex),
        ("table.csv", means_csv),
        ("differences.csv", differences_csv),
        ("scores.csv", scores_csv),
        ("table.txt", text),
    ],
)
def test_table(table: Table, name: str, writer: object) -> None:
    assert callable(writer)
    compare(name, writer(table))


def test_comparison(table: Table) -> None:
    compare(
        "compare.txt",
        comparison_text(Comparison("base", "refl", differences(table.rows[0].run, table.rows[1].run), ("a note",))),
    )
