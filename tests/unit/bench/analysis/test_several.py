"""Three and more runs through `bench.compare`: what comes back, what is said, what is refused."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import bench
from bench.analysis.compare import Comparison
from bench.analysis.comparison_data import MethodsData, MetricRow
from bench.analysis.several import Several
from bench.analysis.several_data import PairRow, RankRow, SeveralData
from bench.errors import NotComparableError, UsageError
from bench.store.records import ScoreRow

seeds = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "seeds.py"))
make, store = seeds["fakes"]["make"], seeds["store"]
SMALL = ("pickscore", "lpips")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, three checkpoints of refl and two of imagerefl."""
    folder = tmp_path_factory.mktemp("several")
    make(folder, "base", prompts=20, samples=2)
    for number in range(3):
        store(folder, "refl", number, prompts=20, samples=2)
    for number in range(2):
        store(folder, "imagerefl", number, declared=2, prompts=20, samples=2)
    return folder


def test_all_pairs_as_tables(results: Path) -> None:
    found = bench.compare("base", "refl", others=["imagerefl"], results=results)
    assert isinstance(found, Several)
    assert found.names == ("base", "refl", "imagerefl")
    table, ranks = found.table, found.ranks
    assert len(table) == 8 * 3 == len(ranks)
    row = table[(table.metric == "pickscore") & (table.method_a == "base") & (table.method_b == "refl")].iloc[0]
    assert row.difference == pytest.approx(row.b - row.a)
    assert (row.better, bool(row.sure)) == ("b", True)
    assert set(table.p_holm.dropna()) <= set(table.p_holm[table.p_holm >= table.p])
    best = ranks[(ranks.metric == "pickscore") & ranks.maybe_best]
    assert list(best.method) == ["refl"]
    assert ("refl", "pickscore") in found.trained
    assert any("FID" in note and "not estimable" in note for note in found.notes)


@pytest.mark.slow
def test_the_metrics_set_the_family(results: Path) -> None:
    every = bench.compare("base", "refl", others=["imagerefl"], results=results)
    few = bench.compare("base", "refl", others=["imagerefl"], metrics=SMALL, results=results)
    assert [one.facts.name for one in few.metrics] == ["pickscore", "lpips"]
    assert few.metrics[0].tests == 6 < every.metrics[0].tests
    two = bench.compare("base", "refl", metrics=SMALL, results=results)
    assert isinstance(two, Comparison)
    assert [one.facts.name for one in two.differences] == ["pickscore", "lpips"]
    with pytest.raises(UsageError, match="Did you mean 'lpips'"):
        bench.compare("base", "refl", metrics=["lpisp"], results=results)


@pytest.mark.slow
def test_replicates_are_looked_for_beside_the_runs(results: Path) -> None:
    plain = bench.compare("base", "refl", metrics=SMALL, results=results)
    assert plain.methods is None
    assert any("refl-replicate-1@" in note and "--replicates" in note for note in plain.notes)
    found = bench.compare("base", "refl", metrics=SMALL, replicates=True, results=results)
    assert found.methods is not None
    assert (len(found.methods.a.runs), len(found.methods.b.runs)) == (1, 3)
    assert found.differences[0].interval == plain.differences[0].interval
    assert len(found.methods.table) == 2
    several = bench.compare("base", "refl", others=["imagerefl"], metrics=SMALL, replicates=True, results=results)
    assert isinstance(several, Several)
    assert several.names == ("base", "refl", "imagerefl")
    assert several.checkpoints == (0, 3, 2)
    assert several.metrics[0].maybe_best[0] == "refl"
    assert "base" not in several.metrics[0].maybe_best


def test_checkpoints_that_are_compared_as_runs_are_said(results: Path) -> None:
    others = [path.name for path in (results / "runs" / "shapes").glob("refl-replicate-*")]
    found = bench.compare("base", "refl", others=others, metrics=SMALL, results=results)
    assert any("checkpoints of one method" in note for note in found.notes)


def test_refusals(results: Path, tmp_path: Path) -> None:
    replicate = next((results / "runs" / "shapes").glob("refl-replicate-1*"))
    with pytest.raises(UsageError, match="is given twice"):
        bench.compare("base", "refl", others=["base"], results=results)
    with pytest.raises(UsageError, match="are checkpoints of one method, refl: name another method"):
        bench.compare("refl", replicate, replicates=True, results=results)
    a, b = make(tmp_path, "base", prompts=20, samples=2), make(tmp_path, "combined", prompts=20, samples=2)
    with pytest.raises(UsageError, match="no other checkpoints of base, combined are there"):
        bench.compare(a, b, replicates=True)
    with pytest.raises(NotComparableError, match="prompts differ"):
        bench.compare(a, b, others=[make(tmp_path, "refl", prompts=19, samples=2)])


def test_common_is_over_what_all_have(tmp_path: Path) -> None:
    stores = [make(tmp_path, method, prompts=20, samples=2) for method in ("base", "refl", "imagerefl")]
    holes = [ScoreRow(f"p{p:04d}", 0, float("nan"), "no image") for p in range(10)]
    card = seeds["fakes"]["card"]("pickscore")
    stores[1].append_scores("pickscore", holes, card)
    found = bench.compare(stores[0], stores[1], others=[stores[2]], metrics=["pickscore"], common=True)
    assert "30 of 40 images" in found.notes[0]
    assert {one.interval.n for one in found.metrics[0].differences.values()} == {30}
    left = bench.compare(stores[0], stores[1], others=[stores[2]], metrics=["pickscore"])
    assert any("10 of 40 values unscored" in note for note in left.notes)


@pytest.mark.slow
def test_several_runs_as_data_of_a_stable_structure(results: Path) -> None:
    for replicates in (False, True):
        found = bench.compare("base", "refl", others=["imagerefl"], replicates=replicates, results=results)
        assert isinstance(found, Several)
        data = json.loads(json.dumps(found.data, allow_nan=False))
        assert set(data) == set(SeveralData.__annotations__)
        assert data["checkpoints"] == ({"base": 0, "refl": 3, "imagerefl": 2} if replicates else None)
        assert data["family"]["tests"] == found.metrics[0].tests
        assert all(set(row) == set(RankRow.__annotations__) for row in data["ranks"])
        for row in data["pairs"]:
            assert set(row) == set(PairRow.__annotations__)
            one = row["difference"]
            assert set(one) == set(MetricRow.__annotations__)
            assert one["difference"] is None or one["difference"] == pytest.approx(one["b"] - one["a"])
            assert set(one["trained"]) <= {row["a"], row["b"]}
            assert one["p"] is not None or one["reason"]
        ranks = {row["method"]: row for row in data["ranks"] if row["metric"] == "pickscore"}
        assert ranks["refl"]["rank_best"] == 1
        assert ranks["refl"]["maybe_best"]


def test_replicates_of_two_runs_are_in_their_data(results: Path) -> None:
    found = bench.compare("base", "refl", metrics=SMALL, replicates=True, results=results)
    methods = json.loads(json.dumps(found.data, allow_nan=False))["methods"]
    assert set(methods) == set(MethodsData.__annotations__)
    assert (methods["a"], methods["b"], methods["checkpoints"]) == ("base", "refl", {"a": 1, "b": 3})
    assert found.methods is not None
    assert [row["difference"] for row in methods["metrics"]] == pytest.approx(list(found.methods.table.difference))
    assert methods["metrics"][0]["trained"] == ["refl"]
    assert bench.compare("base", "refl", metrics=SMALL, results=results).data["methods"] is None
