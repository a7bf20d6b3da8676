"""Runs in an object store: made, killed, continued elsewhere, read, changed and removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli.watch import watch
from bench.errors import BenchError, MissingError, UsageError
from bench.runtime import log
from bench.store import working_folder
from bench.store.names_in_stores import folder_of
from bench.store.object_store import ObjectStore
from bench.store.run_store import find_runs
from bench.store.working_folder import WorkingFolder
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.models.tiny import tiny_pipeline

pytest_plugins = ["tests.unit.bench.store.object_stores"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "pipeline"
    tiny_pipeline(folder)
    return folder


@pytest.fixture
def suite(pipeline: Path, tmp_path: Path) -> Suite:
    fake_metrics.install()
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle\na large star\nthree dots\n")
    return Suite.model_validate(
        {
            "name": "tiny",
            "model": {"weights": str(pipeline)},
            "prompts": str(prompts),
            "samples": 2,
            "resolution": 32,
            "sampler": {"steps": 2},
            "metrics": {"fake_image": {}, "fake_group": {}},
        }
    )


def elsewhere(bucket: str) -> None:
    """As on another machine: nothing of the store is here."""
    shutil.rmtree(folder_of(bucket), ignore_errors=True)


def objects(bucket: str) -> dict[str, bytes | None]:
    store = ObjectStore(bucket)
    return {name: store.read(name) for name in store.sizes()}


def same_values(one: Any, other: Any) -> bool:
    keys = ["run", "metric", "prompt_id", "sample"]
    return bool(one.sort_values(keys, ignore_index=True).equals(other.sort_values(keys, ignore_index=True)))


@pytest.mark.slow
def test_a_run_in_a_store_equals_one_in_a_folder(suite: Suite, bucket: str, tmp_path: Path) -> None:
    bench.run(suite, ["base"], results=bucket)
    bench.run(suite, ["base"], results=tmp_path / "local")
    assert same_values(bench.load_results(bucket), bench.load_results(tmp_path / "local"))
    here = {path.relative_to(tmp_path / "local").as_posix() for path in (tmp_path / "local" / "runs").rglob("*.png")}
    there = objects(bucket)
    assert here == {name for name in there if name.endswith(".png")}
    assert all(there[name] == (tmp_path / "local" / name).read_bytes() for name in here)
    assert not any(part.startswith(".") for name in there for part in name.split("/"))
    elsewhere(bucket)
    assert same_values(bench.load_results(bucket), bench.load_results(tmp_path / "local"))


@pytest.mark.slow
def test_the_manifest_comes_last(suite: Suite, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def noting(write: Callable[..., Any]) -> Callable[..., Any]:
        def writing(self: ObjectStore, name: str, data: bytes) -> Any:
            written.append(name)
            return write(self, name, data)

        return writing

    for method in ("create", "replace"):
        monkeypatch.setattr(ObjectStore, method, noting(getattr(ObjectStore, method)))
    bench.run(suite, ["base"], results=bucket)
    kinds = [name.rpartition("/")[2] for name in written]
    last_picture = max(index for index, name in enumerate(kinds) if name.endswith(".png"))
    first_part = min(index for index, name in enumerate(kinds) if name.endswith(".parquet"))
    assert last_picture < first_part
    assert kinds[-1] == "manifest.json"
    before = len(written)
    bench.run(suite, ["base"], results=bucket)
    assert len(written) == before  # nothing new


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 7, 12, 16])
def test_what_a_writer_that_was_cut_off_left_is_continued_anywhere(
    suite: Suite, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(working_folder, "_THREADS", 1)
    create, replace, count = ObjectStore.create, ObjectStore.replace, [0]

    def cut(write: Callable[..., Any]) -> Callable[..., Any]:
        def writing(self: ObjectStore, name: str, data: bytes) -> Any:
            count[0] += 1
            if count[0] > after:
                raise MissingError("the network is gone")
            return write(self, name, data)

        return writing

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "create", cut(create))
        patch.setattr(ObjectStore, "replace", cut(replace))
        with pytest.raises(MissingError, match="the network is gone"):
            bench.run(suite, ["base"], results=bucket)
    assert len(ObjectStore(bucket).sizes()) == after
    elsewhere(bucket)
    bench.run(suite, ["base"], results=bucket)
    bench.run(suite, ["base"], results=tmp_path / "local")
    elsewhere(bucket)
    assert same_values(bench.load_results(bucket), bench.load_results(tmp_path / "local"))
    (store,) = find_runs(folder_of(bucket))
    assert store.manifest().complete


@pytest.mark.slow
def test_two_writers_of_one_run_get_along_and_a_different_picture_is_an_error(
    suite: Suite, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench.run(suite, ["base"], results=bucket)
    monkeypatch.setenv("BENCH_REMOTE", str(tmp_path / "second"))
    first = folder_of(bucket)
    store = WorkingFolder(ObjectStore(bucket), first)
    bench.run(suite, ["base"], results=tmp_path / "local")
    shutil.copytree(tmp_path / "local" / "runs", first / "runs")  # made at the same time, by another
    store.send()
    assert same_values(bench.load_results(bucket), bench.load_results(tmp_path / "local"))
    picture = next(first.rglob("*.png"))
    name = picture.relative_to(first).as_posix()
    (first / ".in-store.json").unlink()
    picture.write_bytes(picture.read_bytes() + b"x")
    with pytest.raises(UsageError, match=f"{name} is there with other content"):
        store.send()


@pytest.mark.slow
def test_reading_commands_say_that_pictures_are_not_verified(
    suite: Suite, bucket: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(suite, ["base"], results=bucket)
    elsewhere(bucket)
    monkeypatch.setattr(log._once, "said", {})  # what is told once a process was told in other tests
    bench.load_results(bucket)
    assert "not verified: 6 of 6 images are not here" in caplog.text
    assert not list(folder_of(bucket).rglob("*.png"))
    assert bench.plan(suite, ["base"], results=bucket).missing == 0
    with pytest.raises(UsageError, match="pass --out DIR"):
        bench.report(results=bucket, out=f"{bucket}/report")
    bench.report(results=bucket, out=tmp_path / "report", gallery=1)
    assert len(list(folder_of(bucket).rglob("*.png"))) == 6


@pytest.mark.slow
def test_a_run_that_is_removed_is_gone_everywhere(suite: Suite, bucket: str) -> None:
    bench.run(suite, ["base"], results=bucket)
    kept = folder_of(bucket)
    elsewhere(bucket)
    bench.remove_runs(["base"], results=bucket)
    assert objects(bucket) == {}
    assert not [path for path in (kept / "runs").rglob("*") if path.is_file() and path.name != ".lock"]
    with pytest.raises(UsageError, match="no runs in"):
        bench.load_results(bucket)


@pytest.mark.slow
def test_a_damaged_part_is_refused_and_a_damaged_picture_made_again(suite: Suite, bucket: str) -> None:
    bench.run(suite, ["base"], results=bucket)
    before = objects(bucket)
    store = ObjectStore(bucket)
    part = next(name for name in before if name.endswith(".parquet"))
    store.replace(part, b"damaged")
    elsewhere(bucket)
    with pytest.raises(UsageError, match="is damaged"):
        bench.load_results(bucket)
    store.replace(part, before[part] or b"")
    manifest = next(name for name in before if name.endswith("/manifest.json"))
    store.replace(manifest, (before[manifest] or b"").replace(b'"complete"', b'"running" '))
    elsewhere(bucket)
    with pytest.raises(UsageError, match="is damaged or was edited"):
        bench.load_results(bucket)


@pytest.mark.slow
def test_names_in_a_store_lead_nowhere_else(suite: Suite, bucket: str) -> None:
    bench.run(suite, ["base"], results=bucket)
    store = ObjectStore(bucket)
    for name in ("runs/tiny/../../../outside.json", "runs/tiny/x@1/.hidden/a.json", "other/thing.json"):
        store.replace(name, b"{}")
    elsewhere(bucket)
    bench.load_results(bucket)
    root = folder_of(bucket).parent.parent
    assert not list(root.rglob("outside.json")) + list(root.rglob("thing.json")) + list(root.rglob(".hidden"))


@pytest.mark.slow
def test_other_engines_and_commands_refuse_a_store(suite: Suite, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--engine does not go with"):
        bench.run(suite, ["base"], results=bucket, engine="ray")
    with pytest.raises(UsageError, match="is an object store"):
        find_runs(bucket)
    with pytest.raises(UsageError, match="is an object store"):
        watch(tmp_path / "checkpoints", results=Path(bucket))
    with pytest.raises(BenchError):
        bench.run(suite, ["base"], results="s3://bench-none/results")
