"""Shares of a run: together they are the run of one process, and the last of them completes it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.generation import shares
from bench.pipeline import rescore
from bench.pipeline import run as pipeline
from bench.runtime.share import Share, read_share
from bench.store.presence import WORKERS
from bench.store.run_store import RunStore, find_runs
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.small_runs import found, small_suite, write_weights

METHODS = ["base", "combined"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def fakes() -> None:
    fake_metrics.install()


@pytest.fixture
def suite(weights: Path, tmp_path: Path) -> Suite:
    return small_suite(weights, tmp_path)


def shard(suite: Suite, results: Path, which: str, **more: Any) -> list[RunStore]:
    return pipeline.run(suite, METHODS, results=results, batch_size=2, shard=which, **more)


@pytest.mark.slow
@pytest.mark.parametrize("order", [("1/3", "2/3", "3/3"), ("3/3", "1/2", "2/2")])
def test_shards_in_any_order_are_the_run_of_one_process(
    suite: Suite, tmp_path: Path, said: list[str], order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.scoring.chunking.CHUNK", 2)
    pipeline.run(suite, METHODS, results=tmp_path / "one", batch_size=2)
    for which in order[:-1]:
        assert shard(suite, tmp_path / "many", which) == []
    stores = shard(suite, tmp_path / "many", order[-1])
    assert [store.manifest().status for store in stores] == ["complete"] * 2
    assert found(tmp_path / "many") == found(tmp_path / "one")
    one, many = ({store.name: store.manifest() for store in find_runs(tmp_path / name)} for name in ("one", "many"))
    for name, manifest in many.items():
        assert manifest.batches == one[name].batches
        for key in ("images", "images_generated", "network_evaluations_needed"):
            assert manifest.counts[key] == one[name].counts[key]
        assert manifest.timings["generate_seconds"] > 0
        assert not list((tmp_path / "many" / "runs" / "tiny" / name / WORKERS).glob("*"))
    told = [line for line in said if line.startswith("shard ")]
    assert len(told) == len(order) - 1
    assert "of 6 images: other shards make the rest, or the same call without --shard" in told[0]


@pytest.mark.slow
def test_a_plain_call_completes_what_shards_left(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    pipeline.run(suite, METHODS, results=tmp_path / "one", batch_size=2)
    assert shard(suite, tmp_path / "many", "2/3") == []
    (kept,) = (tmp_path / "many" / "runs" / "tiny").glob("base@*/images/p2/0.png")
    before = kept.stat()
    pipeline.run(suite, METHODS, results=tmp_path / "many")
    assert found(tmp_path / "many") == found(tmp_path / "one")
    assert kept.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.slow
def test_while_another_share_is_at_work_nobody_completes(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    assert shard(suite, tmp_path, "1/2") == []
    paths = [store.path for store in find_runs(tmp_path)]
    with shares.at_work([shares.SharedRunStore(path, worker="shard-2-of-3") for path in paths]):
        assert shard(suite, tmp_path, "2/2") == []
        assert said[-1] == "shard 2/2 is done; others are at work, and the last one completes the runs"
    assert [store.manifest().status for store in find_runs(tmp_path)] == ["running"] * 2
    assert shard(suite, tmp_path, "2/2") != []


@pytest.mark.slow
def test_an_image_that_differs_is_refused_with_both_digests(
    suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by somebody else meanwhile: after this shard looked at what is missing."""
    opened = shares._open

    def late(*given: Any) -> Any:
        answer = opened(*given)
        (run,) = [run for run in answer[0] if run.plan.method.name == "base"]
        path = run.store.image_path("p1", 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"other")
        return answer

    monkeypatch.setattr(shares, "_open", late)
    with pytest.raises(UsageError, match=r"p1/0.png was made twice and differs: its sha256 is d9298a10.*, that of the"):
        shard(suite, tmp_path, "1/1")
    monkeypatch.undo()
    assert shard(suite, tmp_path, "1/1") != []  # what nobody recorded is cleared when nobody else is at work


@pytest.mark.slow
def test_scores_are_shared_too(suite: Suite, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scoring.chunking.CHUNK", 2)
    pipeline.run(suite, METHODS, results=tmp_path / "one", batch_size=2)
    pipeline.run(suite.override(metrics=["fake_group"]), METHODS, results=tmp_path / "many", batch_size=2)
    names = [store.name for store in find_runs(tmp_path / "many")]
    for which in ("2/2", "1/2"):
        rescored = rescore.score(names, suite=suite, results=tmp_path / "many", shard=which)
        assert bool(rescored) == (which == "1/2")
    assert {name: one[:2] for name, one in found(tmp_path / "many").items()} == {
        name: one[:2] for name, one in found(tmp_path / "one").items()
    }
    assert [line for line in said if line.startswith("shard ")] == [
        "shard 2/2 is done; 4 values are missing: other shards make the rest, or the same call without --shard"
    ]


@pytest.mark.slow
def test_a_share_scores_at_the_precision_of_the_card(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, plain = [], fake_metrics.Brightness.score

    def watching(*given: Any) -> Any:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return plain(*given)

    monkeypatch.setattr(fake_metrics.Brightness, "score", watching)
    pipeline.run(suite, ["base"], results=tmp_path, batch_size=2, shard="1/1")
    assert set(seen) == {(False, False)}


@pytest.mark.slow
def test_more_samples_of_a_finished_run_are_a_layer_of_their_own(suite: Suite, tmp_path: Path) -> None:
    for name in ("one", "many"):
        pipeline.run(suite, METHODS, results=tmp_path / name, batch_size=2)
    more = suite.override(samples=4)
    pipeline.run(more, METHODS, results=tmp_path / "one")
    assert pipeline.run(more, METHODS, results=tmp_path / "many", shard="1/2") == []
    for store in find_runs(tmp_path / "many"):
        assert (store.manifest().samples, store.manifest().status) == (4, "running")
    assert pipeline.run(more, METHODS, results=tmp_path / "many", shard="2/2") != []
    assert found(tmp_path / "many") == found(tmp_path / "one")
    for one, many in zip(find_runs(tmp_path / "one"), find_runs(tmp_path / "many"), strict=True):
        assert many.manifest().batches == one.manifest().batches
        assert many.manifest().batches["layers"] == [[0, 2, ""], [2, 4, ""]]


@pytest.mark.slow
def test_a_later_shard_may_ask_for_smaller_batches_and_not_for_larger_ones(suite: Suite, tmp_path: Path) -> None:
    for which, size in (("1/3", 2), ("2/3", 1), ("3/3", 4)):
        pipeline.run(suite, ["base"], results=tmp_path, batch_size=size, shard=which)
    (store,) = find_runs(tmp_path)
    assert store.manifest().batches == {"size": 2, "sizes": [2, 1], "layers": [[0, 2, ""]]}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"shard": "0/3"}, r"--shard 0/3: write i/n with 1 <= i <= n <= 10,000, such as 1/8"),
        ({"shard": "١/٣"}, r"--shard ١/٣: write i/n with"),
        ({"shard": "4/3"}, "--shard 4/3"),
        ({"shard": "1/3/5"}, "--shard 1/3/5"),
        ({"shard": "1/2", "resume": "never"}, "--resume never would make every shard begin again"),
        ({"shard": "1/2", "engine": "ray"}, "--shard splits the work without Ray"),
        ({"shard": "1/2", "until": "fake_image=1"}, "it does not go with --shard"),
    ],
)
def test_what_a_share_cannot_be(suite: Suite, tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        pipeline.run(suite, ["base"], results=tmp_path, **more)
    assert not list(tmp_path.glob("runs/*/*/manifest.json"))


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, unique=True))
def test_every_batch_has_one_owner(count: int, places: list[tuple[int, int]]) -> None:
    starts = sorted(places)
    for place in [*starts, (0, 0), (31, 0)]:
        assert sum(Share(index, count).owns(starts, place) for index in range(1, count + 1)) == 1
    ends = [Share(index, count).range_of(len(starts)) for index in range(1, count + 1)]
    assert ends[0][0] == 0
    assert ends[-1][1] == len(starts)
    assert all(one[1] == two[0] for one, two in pairwise(ends))
    assert read_share(f"{count}/{count}").name == f"shard-{count}-of-{count}"
