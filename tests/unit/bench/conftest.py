"""What the tests of the suite's modules share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

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
