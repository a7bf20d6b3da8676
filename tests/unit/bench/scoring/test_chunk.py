"""Each image is decoded once, prepared once for each preprocessing, encoded once by each network; a bad one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.scoring.chunk import MULTIPLE, Chunk, Tools, each_or_why, reason_of
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.missing import Target
from bench.scoring.reader import reading
from metrics import BadInputError
from tests.unit.bench.scoring.fakes import REFUSED, SeenGroup, SeenImage, SeenSet, keys, target

LEVELS = {"p1": [20, 30, 40], "p2": [50, 60, 70], "p3": [80, 90]}


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with reading() as reader:
        yield Tools(reader, FeatureCache(tmp_path / "features"))


def chunk_of(target: Target, tools: Tools, metrics: Sequence[Any], prompt_ids: Sequence[str] = ("p1", "p2")) -> Chunk:
    wanted = [metric.preprocessing for metric in metrics]
    shared = frozenset(name for name in wanted if wanted.count(name) > 1)
    made = Chunk(target, prompt_ids, tools, shared)
    made.read_ahead(set(made.rows), set(made.rows))
    return made


def test_once_for_all_metrics(tools: Tools, tmp_path: Path) -> None:
    """Two metrics of one network, one of another with the same preprocessing, one with its own."""
    run = target(tmp_path, LEVELS)
    first, same = SeenImage("seen_image", "a", "p"), SeenImage("seen_image", "a", "p")
    other, own = SeenImage("seen_image", "b", "p"), SeenImage("seen_image", "c", "q")
    every = [first, same, other, own]
    chunk = chunk_of(run, tools, every)
    found = [chunk.features(metric, list(chunk.rows)) for metric in every]
    assert tools.reader.decoded == 6
    assert first.counts == {"prepared": 6, "encoded": 8}  # 6 images, filled up to a multiple of 4
    assert same.counts == {}
    assert other.counts == {"encoded": 8}
    assert own.counts == {"prepared": 6, "encoded": 8}
    for features in found[1:]:
        assert all(torch.equal(features[key], found[0][key]) for key in found[0])
    assert len({tuple(row.tolist()) for row in found[0].values()}) == 6


def test_what_is_on_disk_is_neither_decoded_nor_encoded_again(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, LEVELS)
    first, again = SeenImage("seen_image"), SeenImage("seen_image")
    made = chunk_of(run, tools, [first]).features(first, keys(run, ["p1", "p2"]))
    later = Tools(tools.reader, FeatureCache(tmp_path / "features"))
    chunk = Chunk(run, ["p1", "p2"], later, frozenset())
    assert chunk.shelved(again, chunk.rows) == set(chunk.rows)
    chunk.read_ahead(set(), set(chunk.rows))
    before = tools.reader.decoded
    kept = chunk.features(again, list(chunk.rows))
    assert again.counts == {}
    assert tools.reader.decoded == before
    assert tools.reader.verified == 6  # but its file is still the one that the features are of
    assert all(torch.equal(kept[key], made[key]) for key in made)


def test_a_changed_file_is_found_even_where_its_features_are_kept(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, LEVELS)
    metric = SeenImage("seen_image")
    chunk_of(run, tools, [metric]).features(metric, keys(run, ["p1"]))
    (run.store.path / run.images["p1"][1].path).write_bytes(b"hello")
    chunk = Chunk(run, ["p1"], tools, frozenset())
    chunk.read_ahead(set(), set(chunk.rows))
    found = chunk.features(metric, list(chunk.rows))
    assert found["p1", 1] == "the image cannot be used: p1/1.png: not a PNG file"
    assert isinstance(found["p1", 0], torch.Tensor)
    assert run.faults == {("p1", 1): "not a PNG file"}


def test_an_image_that_cannot_be_used_costs_itself_only(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, {"p1": [20, REFUSED, 40, REFUSED + 1, 60]})
    damaged = run.store.path / run.images["p1"][4].path
    damaged.write_bytes(damaged.read_bytes()[:50])
    metric = SeenImage("seen_image")
    chunk = chunk_of(run, tools, [metric], ["p1"])
    found = chunk.features(metric, list(chunk.rows))
    assert {key[1]: row for key, row in found.items() if isinstance(row, str)} == {
        1: "it is refused",  # a sentence of the metric stands alone
        3: "the metric failed: RuntimeError: the network fails",  # the first line of anything else, with its type
        4: "the image cannot be used: p1/4.png: truncated",
    }
    good = SeenImage("seen_image")
    alone = chunk_of(target(tmp_path / "good", {"p1": [20, 40]}), tools, [good], ["p1"]).features
    assert isinstance(found["p1", 0], torch.Tensor)
    assert torch.equal(found["p1", 0], alone(good, [("p1", 0)])["p1", 0])
    assert run.faults == {("p1", 4): "truncated"}  # what a metric refuses is no fault of the file


def test_reasons_are_not_kept_on_disk(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, {"p1": [20, REFUSED]})
    metric = SeenImage("seen_image")
    chunk_of(run, tools, [metric], ["p1"]).features(metric, keys(run, ["p1"]))
    assert tools.cache.features_of(metric).known([row.sha256 for row in run.images["p1"]]) == {
        run.images["p1"][0].sha256
    }


def test_batches_are_of_the_metrics_size_and_filled_up(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, LEVELS)
    metric = SeenImage("seen_image")
    metric.batch_size = 3
    chunk = chunk_of(run, tools, [metric], ["p1", "p2", "p3"])
    chunk.features(metric, list(chunk.rows))
    assert metric.batches == [4, 4, 4]  # 3, 3 and 2 images
    assert all(size % MULTIPLE == 0 for size in metric.batches)


def test_pictures_are_shared_by_metrics_that_take_images(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, LEVELS)
    chunk = chunk_of(run, tools, [])
    assert chunk.picture(("p1", 0)) is chunk.picture(("p1", 0))
    metric = SeenGroup("seen_group")
    chunk.features(metric, chunk.keys_of("p1"))
    assert tools.reader.decoded == 6
    assert chunk.keys_of("p2") == [("p2", 0), ("p2", 1), ("p2", 2)]


def test_features_of_all_kinds_are_float32(tools: Tools, tmp_path: Path) -> None:
    run = target(tmp_path, LEVELS)
    for metric in (SeenImage("seen_image", "i"), SeenGroup("seen_group", "g"), SeenSet("seen_set", "s")):
        rows = chunk_of(run, tools, [metric]).features(metric, keys(run, ["p1"]))
        assert all(isinstance(row, torch.Tensor) and row.dtype == torch.float32 for row in rows.values())


def test_each_alone_where_all_together_fail() -> None:
    calls: list[list[int]] = []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if 0 in items:
            raise ZeroDivisionError("by\nzero")
        return [10 // item for item in items]

    assert each_or_why([1, 0, 5], work) == [10, "the metric failed: ZeroDivisionError: by", 2]
    assert calls == [[1, 0, 5], [1], [0], [5]]
    assert each_or_why([], work) == []
    assert reason_of(BadInputError("a sentence.")) == "a sentence"
    assert reason_of(RuntimeError("")) == "the metric failed: RuntimeError: "
    assert len(reason_of(ValueError("x" * 1000))) < 340


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:120] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_where_memory_runs_out_batches_are_halved_and_one_alone_is_an_error(error: Exception) -> None:
    room, calls = 2, []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        if len(items) > room:
            raise error
        return list(items)

    assert each_or_why(list(range(7)), work) == list(range(7))
    assert calls == [7, 4, 2, 2, 3, 2, 1]
    room = 0
    with pytest.raises(type(error)):
        each_or_why([1, 2], work)
    with pytest.raises(type(error)):
        reason_of(error)
