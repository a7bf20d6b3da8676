"""One run name in two folders, as before and after a change of the code: told apart in compare, report and gate."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

from bench.analysis.compare import compare
from bench.analysis.tradeoff import joint_bootstrap
from bench.gate.check import check
from bench.reporting.comparison import comparison_text
from bench.reporting.report import report
from bench.store.run_store import RunStore
from bench.store.runs import read_run

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, MEANS = fakes["make"], fakes["MEANS"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[RunStore]:
    folder = tmp_path_factory.mktemp("two")
    better = {**MEANS["base"], "lpips": MEANS["base"]["lpips"] + 0.2}
    metrics = ("pickscore", "lpips")
    return [
        make(folder / "old", "base", prompts=24, samples=2, metrics=metrics, images=True),
        make(folder / "new", "base", prompts=24, samples=2, metrics=metrics, images=True, means=better),
    ]


def test_compare_and_joint_bootstrap(two: list[RunStore]) -> None:
    name = two[0].name
    found = compare(*two)
    assert (found.a, found.b) == (f"{name} (old)", f"{name} (new)")
    lpips = next(difference for difference in found.differences if difference.facts.name == "lpips")
    assert lpips.interval.mean == pytest.approx(0.2)
    assert lpips.better == "b"
    assert f"{name} (new)" in comparison_text(found)
    joint = joint_bootstrap([read_run(store) for store in two])
    assert joint.difference(found.a, found.b, "lpips").mean == pytest.approx(0.2)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_report_has_both_with_their_own_values_and_pictures(
    two: list[RunStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.reporting.thumbnails

    monkeypatch.setattr(bench.reporting.thumbnails, "IN_PAGE_BYTES", 100)
    report([store.path for store in two], tmp_path / "out", n_resamples=200)
    means = {row["method"]: float(row["lpips"]) for row in rows_of(tmp_path / "out" / "table.csv")}
    name = two[0].name
    assert means[f"{name} (new)"] - means[f"{name} (old)"] == pytest.approx(0.2, rel=5e-5)
    differences = rows_of(tmp_path / "out" / "differences.csv")
    difference = next(row for row in differences if row["metric"] == "lpips")
    assert abs(float(difference["difference"])) == pytest.approx(0.2, rel=5e-5)
    assert {path.name for path in (tmp_path / "out" / "index_files").iterdir() if path.is_dir()} == {name, f"{name}-2"}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f"{name} (old)" in page
    assert f"index_files/{name}-2/" in page


def test_the_gate_says_which(two: list[RunStore], tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[base.lpips]\nmin = 0.5\n", encoding="utf-8")
    found = check(two, gate)
    assert [(one.status, one.who) for one in found] == [
        ("failed", f"{two[0].name} (old)"),
        ("passed", f"{two[0].name} (new)"),
    ]
