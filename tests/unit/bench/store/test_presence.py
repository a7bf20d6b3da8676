"""Several workers in one run's folder: who is there, who waits for whom, and what two of them may write."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.errors import UsageError
from bench.store import atomic
from bench.store.locks import last_one
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore, lock_runs
from bench.store.shared_store import SharedRunStore, fold

PIXELS = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
AT_WORK = """
import sys, time
from pathlib import Path
from bench.store.shared_store import SharedRunStore
with SharedRunStore(Path(sys.argv[1]), worker=sys.argv[2]).work():
    print("there", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, "shapes", "refl", "00c0ffee")


def at_work(store: RunStore, name: str, seconds: float) -> subprocess.Popen[str]:
    """A worker in a process of its own."""
    root = str(Path(bench.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(store.path), name, str(seconds)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def test_who_wants_the_whole_run_waits_for_its_workers(store: RunStore, said: list[str]) -> None:
    with at_work(store, "shard-1-of-2", 1.5):
        began = time.monotonic()
        with lock_runs([store]):
            assert time.monotonic() - began > 1.0
        (told,) = [line for line in said if "another bench" in line]
        assert "(shard-1-of-2): waiting" in told


def test_a_worker_does_not_wait_for_the_others_and_writes_alone_for_a_moment(store: RunStore, said: list[str]) -> None:
    with at_work(store, "shard-1-of-2", 60) as worker:
        mine = SharedRunStore(store.path, worker="shard-2-of-2")
        with mine.work(), mine.lock(clean=False):
            pass
        assert said == []
        with last_one(store.path) as alone:
            assert not alone
        with pytest.raises(UsageError, match=r"shard-1-of-2 of .* is at work in another process"):
            SharedRunStore(store.path, worker="shard-1-of-2").work().__enter__()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        with last_one(store.path) as alone:  # what a killed worker left means nothing
            assert alone
        assert not list((store.path / ".workers").iterdir())


def test_no_worker_of_this_process_is_the_last(store: RunStore) -> None:
    with SharedRunStore(store.path, worker="a").work(), last_one(store.path) as alone:
        assert not alone
    with last_one(store.path) as alone, store.lock():
        assert alone


def test_an_equal_second_image_is_fine_and_another_one_shows_both_digests(store: RunStore) -> None:
    first, second = (SharedRunStore(store.path, worker=name) for name in ("a", "b"))
    made = first.save_image("p1", 0, PIXELS)
    before = (store.path / made[0]).stat()
    assert second.save_image("p1", 0, PIXELS) == made
    after = (store.path / made[0]).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with pytest.raises(UsageError, match=rf"was made twice and differs: its sha256 is {made[1]}, .* second [0-9a-f]+"):
        second.save_image("p1", 0, PIXELS + 1)
    assert not list(store.path.rglob("*.tmp"))


def test_without_hard_links_an_image_appears_whole_too(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no links here")

    monkeypatch.setattr(atomic.os, "link", refused)
    test_an_equal_second_image_is_fine_and_another_one_shows_both_digests(store)


def test_rows_of_several_workers_are_read_as_one_and_what_they_spent_is_added_up(store: RunStore) -> None:
    prompts = [{"id": "p1", "text": "a red circle", "tags": []}]
    manifest = Manifest("shapes", "refl", store.name, {}, {}, {}, prompts, 2, counts={"images_generated": 1})
    for sample, name in enumerate(("a", "b")):
        worker = SharedRunStore(store.path, worker=name)
        path, sha256 = worker.save_image("p1", sample, PIXELS + sample)
        worker.append_images([ImageRow("p1", "a red circle", sample, 42, path, sha256, 0.25)])
        spent = {"counts": {"images_generated": 2}, "timings": {"generate_seconds": 1.5, "peak_memory_bytes": sample}}
        worker.write_spent(spent)
        assert worker.spent() == spent
    assert {row.key for row in store.images()} == {("p1", 0), ("p1", 1)}
    files = fold(store, manifest)
    assert [path.name for path in files] == ["a.json", "b.json"]
    assert manifest.counts == {"images_generated": 5}
    assert manifest.timings == {"generate_seconds": 3.0, "peak_memory_bytes": 1.0}


def test_spending_that_was_damaged_is_said_and_not_counted(store: RunStore, said: list[str]) -> None:
    worker = SharedRunStore(store.path, worker="a")
    worker.write_spent({"counts": {"images_generated": 2}, "timings": {}})
    path = store.path / ".workers" / "a.json"
    path.write_text(path.read_text().replace("2", "3"))
    manifest = Manifest("shapes", "refl", store.name, {}, {}, {}, [], 2)
    fold(store, manifest)
    assert manifest.counts == {}
    assert "a.json is damaged: what that worker spent is not counted" in said[-1]
