"""What the tests of the suite's modules share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench
from bench.runtime import log


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
    monkeypatch.setattr(log._once, "said", {})  # what is told once a process was told in other tests
    logger, listener = logging.getLogger("bench"), Listener()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    yield listener.lines
    logger.removeHandler(listener)
    logger.setLevel(before)


@pytest.fixture(scope="session")
def left_by_a_kill() -> Callable[[Path], Path]:
    """The temporary name that a process, which is dead now, had for a path."""
    code = "from pathlib import Path; from bench.store.leftovers import temporary_name; "
    code += "print(temporary_name(Path('NAME')))"
    root = str(Path(bench.__file__).parents[1])
    made = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=True, capture_output=True, text=True
    )
    name = made.stdout.strip()
    return lambda path: path.with_name(name.replace("NAME", path.name))
