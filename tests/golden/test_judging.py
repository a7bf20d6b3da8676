"""What `bench compare` and `bench check` print and write, character by character, from fixed scores.

GOLDEN=write pytest tests/golden writes them anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.compare import compare
from bench.gate.baseline import baseline_of, changes, changes_text
from bench.gate.check import check
from bench.gate.github import markdown_summary, workflow_commands
from bench.gate.junit import junit
from bench.gate.text import verdicts_text
from bench.gate.verdict import Verdict, exit_code
from bench.reporting.comparison import comparison_text
from bench.store.runs import MetricFacts, Run, tidy_types

HERE = Path(__file__).parent
SCORES = HERE.parent / "data" / "judging" / "scores.csv"
THRESHOLDS = HERE.parent / "data" / "judging" / "gate.toml"
METRICS = {
    "pickscore": MetricFacts("pickscore", "PickScore", "image", "higher", label="shapes", digest="a"),
    "lpips": MetricFacts("lpips", "LPIPS diversity", "group", "higher", label="shapes", digest="b"),
    "fid": MetricFacts("fid", "FID", "set", "lower", label="shapes", digest="c"),
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    scores = tidy_types(pd.read_csv(SCORES)).groupby("method", sort=False)
    return {str(method): run_of(str(method), rows, number) for number, (method, rows) in enumerate(scores)}


def run_of(method: str, rows: pd.DataFrame, number: int) -> Run:
    return Run(
        suite="shapes",
        method="refl" if method == "my_|method|_100%" else method,
        name=f"{method}@{number:08x}",
        path=Path(method),
        prompts=tuple((f"p{i}", f"a red circle,\nnumber {i} <b>`x`|") for i in range(1, 5)),
        samples=2,
        n_images=8,
        trained_on=(),
        metrics=METRICS,
        scores=rows.drop(columns="method").reset_index(drop=True),
        title="Shapes",
        tags={"p1": ("colour",), "p2": ("colour", "shape"), "p3": ("shape",)},
    )


def compared(name: str, found: str) -> None:
    path = HERE / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_comparison_by_tag_with_the_prompts_that_changed_most(runs: dict[str, Run]) -> None:
    other = dataclasses.replace(runs["refl"], conditions={"seed": 2})
    found = compare(dataclasses.replace(runs["base"], conditions={"seed": 1}), other, top=2)
    compared("comparison.txt", comparison_text(found))
    compared("comparison_tags.csv", found.tag_table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def test_many_tags_are_rows(runs: dict[str, Run]) -> None:
    tags = {
        prompt: tuple(f"tag\n{n}" for n in range(8) if n % 4 != index)
        for index, prompt in enumerate(("p1", "p2", "p3"))
    }
    found = compare(dataclasses.replace(runs["base"], tags=tags), runs["refl"], top=0)
    compared("comparison_many_tags.txt", comparison_text(found))


@pytest.fixture(scope="module")
def verdicts(runs: dict[str, Run]) -> list[Verdict]:
    before = baseline_of([runs["base"], runs["refl"]])
    for one in before["summaries"]:
        means = one["metrics"]["lpips"]["prompt_means"]
        means.update({prompt: mean + 0.01 * index for index, (prompt, mean) in enumerate(means.items())})
        one["metrics"]["lpips"]["mean"] += 0.015
        one["metrics"]["fid"]["version"] = "0"
    found = check([runs["base"], runs["refl"]], THRESHOLDS, before)
    return [dataclasses.replace(one, path="gate.toml") for one in found]


def test_verdicts(verdicts: list[Verdict]) -> None:
    compared("verdicts.txt", verdicts_text(verdicts))
    assert {verdict.status for verdict in verdicts} == {"passed", "failed", "undecided", "missing", "not_comparable"}
    compared("verdicts.txt", verdicts_text(verdicts))
    compared("verdicts.md", markdown_summary(verdicts, exit_code(verdicts)))
    compared("verdicts.xml", junit(verdicts))
    compared("annotations.txt", workflow_commands(verdicts))


def test_changes_of_a_baseline(runs: dict[str, Run]) -> None:
    old = json.loads(json.dumps(baseline_of([runs["base"]])))
    old["summaries"][0]["metrics"]["pickscore"]["values"]["p1"] = [
        v + 0.5 for v in old["summaries"][0]["metrics"]["pickscore"]["values"]["p1"]
    ]
    compared("baseline_changes.txt", changes_text(changes(old, baseline_of([runs["base"], runs["refl"]]))))
