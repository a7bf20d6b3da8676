"""Fixtures for all tests: the command line as a subprocess, and a tiny suite that needs no trained weights."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import warm

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[1]
# Machines are shared and slow at times: no property is judged by the time that its examples take.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
# One thread a process: tests share small machines. No hub: nothing here may download.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "BENCH_DIGEST_CACHE": "off",
    "COLUMNS": "120",
    "PYTHONPATH": str(ROOT),
}

# `python -m bench` that hears Ctrl-C even where the tests run in the background, which ignores it for all children.
HEARS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="try every form of a file with every family of models; without it, with a third of them in turn",
    )


def pytest_configure(config: pytest.Config) -> None:
    os.fsync = warm.without_waiting
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("BENCH_DIGEST_CACHE", "off")
    os.environ.setdefault("MPLBACKEND", "agg")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the modules of tests imported stays to the end: no garbage collection need go through it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Libraries that look for leaks at the interpreter's end find none."""
    SERVER.close()
    gc.unfreeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


SERVER = warm.Server(ROOT)


@pytest.fixture(scope="session")
def exhaustive(request: pytest.FixtureRequest) -> bool:
    """Whether everything is tried that a test can try, however long it takes."""
    return bool(request.config.getoption("--exhaustive"))


@dataclass
class CommandLine:
    """Runs `python -m bench` in a folder of the test's own, without a terminal and without standard input."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "bench", *map(str, arguments)]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **QUIET, **more}

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, timeout: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and assert the exit code (None: any). Whatever happens short of a bug, no traceback."""
        full = self.environment(**environment)
        if SERVER.takes(full):
            done = SERVER.run([*map(str, arguments)], self.folder, full, timeout)
        else:
            done = self._cold(self.command(*arguments), full, timeout)
        said = f"$ bench {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done

    def _cold(
        self, command: list[str], environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def python(self, code: str, timeout: float = 280) -> None:
        """Run a program in a Python of its own, in which a file of the folder can be imported."""
        full = self.environment()
        warm = SERVER.takes(full)
        done = (
            SERVER.run([], self.folder, full, timeout, code)
            if warm
            else self._cold([sys.executable, "-c", code], full, timeout)
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start without waiting, in a process group of its own; killed when the test ends."""
        process = subprocess.Popen(
            [sys.executable, "-c", HEARS_CTRL_C, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[str], with_signal: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, with_signal)
        process.communicate(timeout=60)


@pytest.fixture
def bench_command(tmp_path: Path) -> Iterator[CommandLine]:
    runner = CommandLine(tmp_path)
    yield runner
    for process in runner.started:
        if process.poll() is None:
            runner.kill(process)


@pytest.fixture(scope="session")
def run_bench(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """`bench_command` for fixtures that outlive one test."""
    return CommandLine(tmp_path_factory.mktemp("cwd"))


@pytest.fixture
def error_of(bench_command: CommandLine) -> Callable[..., str]:
    """Run a command that must fail with `code`; returns its one line on standard error, without "error: "."""

    def run(code: int, *arguments: str | Path, **environment: str) -> str:
        done = bench_command(*arguments, code=code, **environment)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture
def tidy() -> Callable[[Path], pd.DataFrame]:
    """All score rows of a results folder in one order: two results are the same when these frames are."""

    def read(results: Path) -> pd.DataFrame:
        import bench

        rows = bench.load_results(results)
        return rows.sort_values(["run", "metric", "prompt_id", "sample"], ignore_index=True)

    return read


@pytest.fixture
def pixels() -> Callable[[Path], dict[str, bytes]]:
    """The images of a results folder by their path in it, decoded."""

    def read(results: Path) -> dict[str, bytes]:
        from PIL import Image

        found = {}
        for path in sorted(results.rglob("*.png")):
            with Image.open(path) as image:
                found[str(path.relative_to(results))] = image.tobytes()
        return found

    return read


@dataclass(frozen=True)
class TinySuite:
    """A suite with a random model of a few thousand parameters, and prompts of its own."""

    toml: Path
    prompts: Path
    tuned: Path

    def arguments(self, results: Path, *methods: str) -> list[str]:
        """The `bench run` of these methods on this suite."""
        return ["run", "--suite", str(self.toml), "--method", ",".join(methods), "--results", str(results)]


TINY = """
name = "tiny"
title = "A random model, for tests"
label = "tiny"
prompts = "{prompts}"
samples = 2
seed = 3
resolution = 64
dtype = "float32"
guidance = 2.0

[model]
family = "sd"
weights = "{folder}/pipeline"

[sampler]
scheduler = "DDPMScheduler"
steps = 8

[methods.refl]
weights = "{folder}/tuned"
trained_on = ["attribute_accuracy"]

[methods.combined]
weights = "{folder}/tuned"
switch_step = 6

[methods.imagerefl]
weights = "{folder}/tuned"
switch_step = 4

[metrics.attribute_accuracy]

[metrics.attribute_entropy]
"""
TINY_PROMPTS = """\
{"id": "red", "text": "a red circle"}
{"id": "blue", "text": "a blue square on a white background", "tags": ["plain"]}
{"id": "green", "text": "a large green star"}
"""


@pytest.fixture(scope="session")
def tiny_suite(tmp_path_factory: pytest.TempPathFactory) -> TinySuite:
    """Built once a session: a diffusers pipeline folder, a tuned network, prompts, and the suite's file."""
    folder = tmp_path_factory.mktemp("tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write_model(folder)
    prompts = folder / "prompts.jsonl"
    prompts.write_text(TINY_PROMPTS, encoding="utf-8")
    toml = folder / "tiny.toml"
    toml.write_text(TINY.format(folder=folder.as_posix(), prompts=prompts.as_posix()), encoding="utf-8")
    return TinySuite(toml, prompts, folder / "tuned")


def _write_model(folder: Path) -> None:
    """`pipeline/`: all parts of a Stable Diffusion folder with random weights; `tuned/`: a second network."""
    import torch

    from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

    with torch.random.fork_rng(devices=[]):
        tiny_pipeline(folder / "pipeline")
        tiny_unet(5).save_pretrained(folder / "tuned", safe_serialization=True)


class Listener(logging.Handler):
    """Keeps the texts of what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the code under test tells the user, line by line: messages of the logger "bench" from INFO on."""
    from bench.runtime import log

    monkeypatch.setattr(log._once, "said", {})  # what is told once a process was told in other tests
    logger, listener = logging.getLogger("bench"), Listener()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    yield listener.lines
    logger.removeHandler(listener)
    logger.setLevel(before)
