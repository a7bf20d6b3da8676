"""One process, shards and a Ray cluster make the same images and values, also where workers are killed.

What is killed waits at a gate: a plugin lets each process decode so many batches and no more, so that a signal lands in
the middle of work however fast the machine is. What is not killed runs in this process, which has torch already.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
METHODS = ["base", "imagerefl"]
SUITE = """
name = "engines"
title = "Engines"
label = "shapes"
prompts = "shapes"
limit = 6
samples = 2
seed = 11
resolution = 64
guidance = 3.0
[model]
family = "sd"
weights = "shapes:pipeline"
[sampler]
scheduler = "DDPMScheduler"
steps = 3
[methods.imagerefl]
weights = "shapes:imagerefl"
switch_step = 1
[metrics.pickscore]
weights = "shapes:pickscore"
[metrics.lpips]
weights = "shapes:lpips"
[metrics.fid]
weights = "shapes:inception"
[reference]
kind = "shapes"
count = 20
"""
GATE = """
import time
from pathlib import Path

from bench.models.sd import StableDiffusion

decode, made = StableDiffusion.decode, 0


def gated(self, *given, **more):
    global made
    while made >= int(Path({gate!r}).read_text()):
        time.sleep(0.02)
    made += 1
    return decode(self, *given, **more)


StableDiffusion.decode = gated
"""


@dataclass(frozen=True)
class Gate:
    """A plugin that lets each process decode a number of batches."""

    folder: Path

    def __post_init__(self) -> None:
        self.plugin.write_text(GATE.format(gate=str(self.folder / "gate")))

    @property
    def plugin(self) -> Path:
        return self.folder / "gate.py"

    def let(self, count: int) -> None:
        new = self.folder / "gate.new"
        new.write_text(str(count))
        new.replace(self.folder / "gate")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "engines.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def serial(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process."""
    return here(suite, tmp_path_factory.mktemp("serial"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


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
            assert store.manifest().counts["images"] == 12
            assert store.manifest().batches == one.manifest().batches
            assert not list(store.path.rglob("*.tmp"))

    return check


def here(suite: Path, results: Path, **more: Any) -> Path:
    """The run, by this process."""
    import bench

    bench.run(suite, METHODS, results=results, batch_size=2, device="cpu", **more)
    return results


def arguments(suite: Path, results: Path, gate: Gate) -> list[str | Path]:
    """The run, by a process that waits at a gate."""
    given = ["run", "--suite", suite, "--method", ",".join(METHODS), "--batch-size", "2", "--device", "cpu"]
    return [*given, "--results", results, "--plugin", gate.plugin]


class Told:
    """What a process writes to standard error, line by line as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.text = self.output = ""
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.text += line

    def end(self, seconds: float = 300) -> int:
        """The exit code."""
        code = self._process.wait(seconds)
        self._reader.join(10)
        self.output = self._process.communicate()[0]  # and closes the pipes
        return code


def workers_of(parent: subprocess.Popen[str]) -> list[int]:
    """Processes of Ray's workers below one."""
    rows = [
        line.split(None, 2)
        for line in subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()[
            1:
        ]
    ]
    below = {str(parent.pid)}
    for _ in range(6):
        below |= {row[0] for row in rows if row[1] in below}
    return [int(row[0]) for row in rows if row[0] in below and len(row) > 2 and row[2].startswith("ray::Worker")]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], told: Told, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, told.text
        assert time.monotonic() < end, told.text
        time.sleep(0.05)


def images(results: Path) -> int:
    return len(list(results.rglob("images/*/*.png")))


def test_shards_at_once_of_which_one_is_killed(
    bench_command: Any, tmp_path: Path, suite: Path, gate: Gate, same: Callable[[Path], None], said: list[str]
) -> None:
    results = tmp_path / "r"
    gate.let(1)
    second = bench_command.start(*arguments(suite, results, gate), "--shard", "2/2")
    wait_until(lambda: images(results) == 2, second, Told(second))
    here(suite, results, shard="1/2")
    assert "shard 1/2 is done; others are at work, and the last one completes the runs" in said
    assert images(results) == 12 + 2
    bench_command.kill(second)
    here(suite, results, shard="2/2")
    same(results)


@needs_ray
def test_ray_workers_are_killed_and_the_call_is_stopped_and_goes_on(
    bench_command: Any, tmp_path: Path, suite: Path, gate: Gate, same: Callable[[Path], None]
) -> None:
    results = tmp_path / "r"
    gate.let(1)
    process = bench_command.start(*arguments(suite, results, gate), "--engine", "ray", "--workers", "2")
    told = Told(process)
    wait_until(lambda: images(results) == 4, process, told)  # both are in the middle of a unit, which has four
    victim, other = workers_of(process)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: "another one takes its place" in told.text, process, told)
    gate.let(4)  # two units each
    wait_until(lambda: images(results) >= 8 + 2 + 2, process, told)
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    assert told.end() == 130, told.text
    assert "Traceback" not in told.text
    assert told.output == ""  # Ray says there what happens to workers
    assert other in workers
    assert victim not in workers
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    made = {path: path.stat().st_mtime_ns for path in results.rglob("images/*/*.png")}
    assert len(made) < 24
    here(suite, results, engine="ray", workers=1)
    same(results)
    from bench.store.run_store import find_runs

    assert sum(row.seconds > 0 for store in find_runs(results) for row in store.images()) == 24
    assert sum(path.stat().st_mtime_ns == before for path, before in made.items()) >= 4
