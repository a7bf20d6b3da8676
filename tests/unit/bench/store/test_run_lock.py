"""Several processes in one run's folder: who holds it, who waits, and what a killed one leaves."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.summary import summarise
from bench.errors import UsageError
from bench.store.locks import last_one
from bench.store.presence import WORKERS
from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.replace import starting_again
from bench.store.run_store import RunStore, lock_runs
from bench.store.shared_store import SharedRunStore, fold

CARD = {"name": "lpips", "kind": "group", "digest": "d1"}
PIXELS = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, "shapes", "refl", "00c0ffee")


def manifest(run: str = "refl@00c0ffee") -> Manifest:
    prompts = [{"id": "p1", "text": "a red circle", "tags": []}]
    return Manifest("shapes", "refl", run, {}, {}, {}, prompts, 2)


def add_image(store: RunStore, prompt_id: str, sample: int) -> ImageRow:
    path, sha256 = store.save_image(prompt_id, sample, PIXELS)
    row = ImageRow(prompt_id, "text of " + prompt_id, sample, 42, path, sha256, 0.25)
    store.append_images([row])
    return row


def is_held(store: RunStore) -> bool:
    """Whether somebody, this process included, holds the lock file that another process would open now."""
    with (store.path / ".lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_what_a_killed_run_left_is_ignored_and_cleaned_under_the_lock(
    store: RunStore, left_by_a_kill: Callable[[Path], Path]
) -> None:
    row = add_image(store, "p1", 0)
    images = store.path / "images"
    left_by_a_kill(images / "part-000002-aa.parquet").write_bytes(b"half")
    left_by_a_kill(images / "p1" / "1.png").write_bytes(b"half")
    gone = left_by_a_kill(store.path / "scores" / "lpips")
    gone.mkdir(parents=True)
    (gone / "part-000001-aa.parquet").write_bytes(b"half")
    assert store.images() == [row]
    assert store.score_metrics() == []
    with store.lock():
        assert not list(store.path.rglob("*.tmp"))
    assert store.verified_images([("p1", 0)]) == ([row], [])


def test_the_lock_may_be_entered_twice_in_one_process(store: RunStore, left_by_a_kill: Callable[[Path], Path]) -> None:
    with store.lock(), RunStore(os.path.relpath(store.path)).lock():
        leftover = left_by_a_kill(store.path / "x")
        leftover.write_bytes(b"half")
        with store.lock():
            assert leftover.exists()  # only the first entry cleans
    assert not is_held(store)


def test_threads_of_the_holder_enter_without_a_word(store: RunStore, said: list[str]) -> None:
    with store.lock(), ThreadPoolExecutor(8) as threads:
        written = [threads.submit(store.save_image, "p1", sample, PIXELS) for sample in range(100)]
        assert len({future.result() for future in written}) == 100
        assert is_held(store)
    assert not is_held(store)
    assert said == []


def test_threads_of_no_holder_take_turns(store: RunStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        written = [threads.submit(store.save_image, "p1", sample, PIXELS) for sample in range(100)]
        assert len({future.result() for future in written}) == 100
    assert not is_held(store)


def test_a_fork_does_not_hold_what_its_parent_holds(store: RunStore) -> None:
    with store.lock():
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's
                signal.setitimer(signal.ITIMER_REAL, 0.3)  # ends it while it waits for the parent
                store.write_summary({})
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGALRM
    assert store.summary() is None


WRITES: dict[str, Callable[[RunStore], object]] = {
    "manifest": lambda store: store.write_manifest(manifest()),
    "summary": lambda store: store.write_summary({}),
    "image": lambda store: store.save_image("p1", 1, PIXELS),
    "record": lambda store: add_image(store, "p1", 1),
    "taken over": lambda store: store.adopt_image(store, store.images()[0]),
    "scores": lambda store: store.append_scores("lpips", [ScoreRow("p1", None, 1.0)], CARD),
    "other scores": lambda store: store.append_scores("old", [ScoreRow("p1", None, 1.0)], CARD | {"digest": "d2"}),
    "dropped": lambda store: store.drop_scores("old"),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_holds_the_lock(name: str, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add_image(store, "p1", 0)
    store.append_scores("old", [ScoreRow("p1", None, 0.0)], CARD)
    assert not is_held(store)
    seen: list[bool] = []

    def watched(change: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def changed(source: Path, target: Path) -> None:
            seen.append(is_held(store))
            change(source, target)

        return changed

    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(os, "rename", watched(os.rename))
    WRITES[name](store)
    assert seen
    assert all(seen)
    assert not is_held(store)


@contextlib.contextmanager
def other_process(code: str, store: RunStore, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another interpreter that runs `code` with `store` defined; killed at the end if it still runs."""
    head = "import sys, numpy as np; from bench.store.records import *; from bench.store.run_store import *; "
    head += "store = RunStore(sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{head}\n{code}", str(store.path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


HOLD = """
with store.lock():
    print("ready", flush=True)
    sys.stdin.readline()
"""
BEGIN = """
from bench.store.leftovers import temporary_name
half = temporary_name(store.path / "summary.json")
half.write_bytes(b"half")
print(half, flush=True)
sys.stdin.readline()
"""
WRITE = """
for k in range(15):
    store.append_scores("pickscore", [ScoreRow(sys.argv[2], k, float(k))], {"kind": "image"})
"""
WRITE_UNTIL_KILLED = """
with store.lock():
    for k in range(100_000):
        path, sha256 = store.save_image("p1", k, np.full((3, 64, 64), k % 256, np.uint8))
        store.append_images([ImageRow("p1", "text", k, 42, path, sha256, 0.1)])
        if k == 3:
            print("ready", flush=True)
"""


def test_a_second_process_waits_and_says_so(store: RunStore, said: list[str]) -> None:
    with other_process(HOLD, store) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        release = threading.Timer(0.3, lambda: other.communicate("go\n"))
        begun = time.monotonic()
        release.start()
        with lock_runs([store]):
            assert time.monotonic() - begun > 0.2
        release.join()
    assert len(said) == 1
    assert said[0].startswith(f"another bench is working on {store.path}: waiting")


def test_a_summary_is_safe_from_a_sibling_that_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race of two equal `bench run`: the one takes the lock while the other is about to rename its summary."""
    store = RunStore.create(tmp_path, "shapes", "refl", "00c0ffee")
    store.write_manifest(manifest())
    heard: list[str] = []
    replace = os.replace
    with contextlib.ExitStack() as stack:

        def slow(source: Path, target: Path) -> None:
            if Path(target).name == "summary.json":
                sibling = stack.enter_context(other_process(HOLD, store))
                assert sibling.stdout is not None
                heard.append(sibling.stdout.readline())
            replace(source, target)

        monkeypatch.setattr(os, "replace", slow)
        summary = summarise(store)
    assert store.summary() == summary
    assert heard == [f"another bench is working on {store.path}: waiting until it has finished (Ctrl-C to give up)\n"]


def test_a_sweep_spares_the_temporary_files_of_the_living(store: RunStore) -> None:
    with other_process(BEGIN, store) as other:
        assert other.stdout is not None
        half = Path(other.stdout.readline().strip())
        with store.lock():
            assert half.read_bytes() == b"half"
        other.kill()  # and not yet waited for: a zombie
        while Path(f"/proc/{other.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.01)
        with store.lock():
            assert not half.exists()


def test_starting_again_keeps_the_lock_and_what_was_there_until_the_end(store: RunStore) -> None:
    add_image(store, "p1", 0)
    store.write_manifest(manifest())
    store.append_scores("lpips", [ScoreRow("p1", None, 1.0)], CARD)
    inode = (store.path / ".lock").stat().st_ino
    with store.lock():
        with starting_again([store]) as (fresh,):
            add_image(fresh, "p2", 0)
            fresh.write_manifest(manifest())
            assert [row.prompt_id for row in store.images()] == ["p1"]
        assert is_held(store)
        assert [row.prompt_id for row in store.images()] == ["p2"]
    assert (store.path / ".lock").stat().st_ino == inode
    assert store.score_metrics() == []
    assert [path.name for path in store.path.parent.iterdir()] == [store.name]
    assert not list(store.path.rglob("*.tmp"))


def test_the_last_one_waits_for_a_single_write_of_another(store: RunStore) -> None:
    store.path.mkdir(parents=True, exist_ok=True)
    with (store.path / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        freed = threading.Timer(1.5, fcntl.flock, (file, fcntl.LOCK_UN))
        freed.start()
        with last_one(store.path) as free:
            assert free
        freed.join()


def test_what_was_spent_on_the_old_run_is_not_that_of_the_new_one(store: RunStore) -> None:
    store.write_manifest(manifest())
    worker = SharedRunStore(store.path, worker="shard-1-of-2")
    (store.path / WORKERS).mkdir()
    worker.write_spent({"counts": {"images_generated": 5}, "timings": {"generate_seconds": 2.0}})
    with store.lock(), starting_again([store]) as (fresh,):
        fresh.write_manifest(manifest())
    found = store.manifest()
    assert fold(store, found) == []
    assert found.counts == manifest().counts


@pytest.mark.parametrize("refused", range(1, 8))
def test_a_refused_exchange_puts_the_old_run_back(
    refused: int, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_image(store, "p1", 0)
    store.write_manifest(manifest())
    store.append_scores("lpips", [ScoreRow("p1", None, 1.0)], CARD)
    (store.path / WORKERS).mkdir()
    SharedRunStore(store.path).write_spent({"counts": {}, "timings": {}})
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    calls: list[Path] = []
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        calls.append(Path(source))
        if len(calls) == refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    def again() -> None:
        with starting_again([store]) as (fresh,):
            add_image(fresh, "p2", 0)
            fresh.write_manifest(manifest())
            fresh.write_summary({})
            monkeypatch.setattr(os, "rename", refuse)

    with store.lock(), pytest.raises(UsageError, match="cannot write"):
        again()
    assert calls[0].name == "manifest.json"
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before
    assert [path.name for path in store.path.parent.iterdir()] == [store.name]


@pytest.mark.slow
def test_two_writers_without_a_lock_lose_nothing(store: RunStore) -> None:
    with other_process(WRITE, store, "w0") as first, other_process(WRITE, store, "w1") as second:
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert {row.key for row in store.scores("pickscore")} == {(w, k) for w in ("w0", "w1") for k in range(15)}


def test_kill_9_leaves_only_whole_images_and_a_free_lock(store: RunStore, said: list[str]) -> None:
    with other_process(WRITE_UNTIL_KILLED, store) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        writer.kill()
        writer.wait()
    with store.lock():
        rows = store.images()
        good, bad = store.verified_images([row.key for row in rows])
    assert len(good) == len(rows) >= 4
    assert bad == []
    assert said == []
    assert not list(store.path.rglob("*.tmp"))
