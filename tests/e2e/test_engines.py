"""One process, shards and a Ray cluster make the same images and values, also where workers are killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
ARGUMENTS = ["run", "--method", "base,imagerefl", "--limit", "5", "--samples", "2", "--batch-size", "2"]
ARGUMENTS += ["--metrics", "pickscore,lpips,fid", "--device", "cpu"]


@pytest.fixture(scope="module")
def serial(run_bench: Any) -> Path:
    """The results of one process."""
    results = Path(run_bench.folder) / "serial"
    run_bench(*ARGUMENTS, "--results", results, timeout=800)
    return results


@pytest.fixture
def same(serial: Path, pixels: Callable[..., Any], tidy: Callable[..., Any]) -> Callable[[Path], None]:
    """That results are complete and those of one process, to the bit."""

    def check(results: Path) -> None:
        import pandas as pd

        from bench.store.run_store import find_runs

        stores = find_runs(results)
        assert [store.manifest().status for store in stores] == ["complete"] * 2
        assert pixels(results) == pixels(serial)
        pd.testing.assert_frame_equal(tidy(results), tidy(serial), check_exact=True)
        for store, one in zip(stores, find_runs(serial), strict=True):
            assert store.manifest().counts["images"] == 10
            assert store.manifest().batches == one.manifest().batches
            assert not list(store.path.rglob("*.tmp"))

    return check


def pids(pattern: str, parent: subprocess.Popen[str]) -> list[int]:
    """Processes below one, whose command line begins so."""
    found, children = [], subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in children.splitlines()[1:]]
    below = {str(parent.pid)}
    for _ in range(6):
        below |= {row[0] for row in rows if row[1] in below}
    for row in rows:
        if row[0] in below and len(row) > 2 and row[2].startswith(pattern):
            found.append(int(row[0]))
    return found


def when(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 600) -> bool:
    """Wait for something; False if the process ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.1)
    return False


def images(results: Path) -> int:
    return len(list(results.rglob("images/*/*.png")))


def test_shards_at_once_of_which_one_is_killed(
    bench_command: Any, tmp_path: Path, same: Callable[[Path], None]
) -> None:
    results = tmp_path / "r"
    shards = [bench_command.start(*ARGUMENTS, "--results", results, "--shard", f"{i}/3") for i in (1, 2, 3)]
    assert when(lambda: images(results) > 0, shards[0])
    bench_command.kill(shards[2])
    for process in shards[:2]:
        _, told = process.communicate(timeout=800)
        assert process.returncode == 0, told
    bench_command(*ARGUMENTS, "--results", results, "--shard", "3/3", timeout=800)
    same(results)


@needs_ray
def test_ray_workers_that_are_killed(bench_command: Any, tmp_path: Path, same: Callable[[Path], None]) -> None:
    results = tmp_path / "r"
    process = bench_command.start(*ARGUMENTS, "--results", results, "--engine", "ray", "--workers", "2")
    assert when(lambda: images(results) > 2, process), process.communicate()
    (victim, *_) = pids("ray::Worker", process)
    os.kill(victim, signal.SIGKILL)
    _, told = process.communicate(timeout=800)
    assert process.returncode == 0, told
    assert "another one takes its place" in told
    same(results)


@needs_ray
def test_ray_stops_cleanly_and_goes_on(bench_command: Any, tmp_path: Path, same: Callable[[Path], None]) -> None:
    results = tmp_path / "r"
    process = bench_command.start(*ARGUMENTS, "--results", results, "--engine", "ray", "--workers", "2")
    # four images a unit: more than each of two workers has in hand
    assert when(lambda: images(results) > 8, process), process.communicate()
    workers = pids("ray::Worker", process)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    made = {path: path.stat().st_mtime_ns for path in results.rglob("images/*/*.png")}
    bench_command(*ARGUMENTS, "--results", results, timeout=800)
    same(results)
    from bench.store.run_store import find_runs

    recorded = sum(row.seconds > 0 for store in find_runs(results) for row in store.images())
    assert recorded == 20
    assert sum(path.stat().st_mtime_ns == before for path, before in made.items()) > 0
