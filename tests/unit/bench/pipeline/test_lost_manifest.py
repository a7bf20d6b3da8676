"""A manifest that was deleted, as its refusal advises, comes back with what only the past knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.pipeline import run as pipeline
from bench.store.run_store import RunStore
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.small_runs import small_suite, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def suite(weights: Path, tmp_path: Path) -> Suite:
    fake_metrics.install()
    return small_suite(weights, tmp_path)


def run(suite: Suite, results: Path, batch_size: int | None = None) -> RunStore:
    (store,) = pipeline.run(suite, ["base"], results=results, batch_size=batch_size, device="cpu")
    return store


@pytest.mark.slow
def test_it_knows_how_its_images_were_made(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    store = run(suite, tmp_path, 3)
    before = store.manifest()
    (store.path / "manifest.json").unlink()
    (store.path / "images/p2/1.png").unlink()  # is made again in the company that it had
    after = run(suite, tmp_path).manifest()
    assert after.batches["size"] == before.batches["size"] == 3
    assert after.batches["layers"] == before.batches["layers"] == [[0, 2, ""]]
    assert after.provenance == before.provenance
    assert after.counts["images_generated"] == before.counts["images_generated"] + 1
    assert any("made anew, with its batches, counts and timings as recorded in made.json" in line for line in said)
    assert after.status == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "flipped", "of another run"])
def test_without_the_copy_it_is_said_what_is_lost(suite: Suite, tmp_path: Path, said: list[str], damage: str) -> None:
    store = run(suite, tmp_path, 3)
    (store.path / "manifest.json").unlink()
    copy = store.path / "made.json"
    if damage == "missing":
        copy.unlink()
    elif damage == "flipped":
        copy.write_text(copy.read_text().replace('"size": 3', '"size": 2'))
    else:
        from bench.store.atomic import parse_json, to_json
        from bench.store.digests import sealed

        copy.write_text(to_json(sealed(parse_json(copy.read_bytes(), copy) | {"run": "base@00000000"})))
    assert run(suite, tmp_path).manifest().status == "complete"
    assert any("how its images were cut into batches is not known any more" in line for line in said)


@pytest.mark.slow
def test_nothing_is_restored_where_nothing_was_made(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    store = run(suite, tmp_path, 3)
    for path in [store.path / "manifest.json", *store.path.glob("images/part-*")]:
        path.unlink()
    assert run(suite, tmp_path, 2).manifest().batches["size"] == 2
    assert not any("no manifest" in line for line in said)
