"""What the tests of the suite's modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.runtime import log


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the code under test tells the user, line by line."""
    lines: list[str] = []
    log._channel.said.clear()  # what is told once a process was told in other tests
    before = log.set_sink(lines.append)
    yield lines
    log.set_sink(before)
