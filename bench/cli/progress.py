"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 10.0
STEADY = 5.0
"""Seconds of steady work from which on the time left is told: before, a rate would be of one batch, or of none."""
quiet: ContextVar[bool] = ContextVar("quiet", default=False)
"""Whether progress is not wanted (`bench -q`)."""


class Pace:
    """The rate of a stage, from its first units on.

    What went before the first ones is no part of it: loading, compiling, the batch that fills the pipeline.
    """

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._clock, self.total, self.done = clock, total, 0
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def advance(self, n: int) -> None:
        """`n` more units are done."""
        self.done += n
        self._last = self._clock()
        if self._first is None and n > 0:
            self._first = self._last, self.done

    @property
    def rate(self) -> float | None:
        """Units per second; None while too little is known."""
        if self._first is None:
            return None
        began, before = self._first
        seconds = self._last - began
        return (self.done - before) / seconds if seconds >= STEADY and self.done > before else None

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes; None while too little is known."""
        if (rate := self.rate) is None:
            return None
        return max(0.0, (self.total - self.done) / rate - (self._clock() - self._last))

    def text(self) -> str:
        """Rate and time left, ", 4.0/s, 15 s left"; "" while too little is known."""
        rate, left = self.rate, self.left
        return "" if rate is None or left is None else f", {rate_text(rate)}, {duration(left)} left"


class Lines:
    """Plain lines: one when a stage starts, one every ten seconds, one at its end."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage = ""
        self._pace = Pace(0, clock)
        self._began = self._said = 0.0

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` units."""
        self._stage, self._pace = stage, Pace(total, self._clock)
        self._began = self._said = self._clock()
        if total > 0:
            self._print(f"{stage}: 0/{total}")

    def advance(self, n: int = 1) -> None:
        """`n` more units are done."""
        pace, now = self._pace, self._clock()
        pace.advance(n)
        if now - self._said >= SECONDS_BETWEEN_LINES and pace.done < pace.total:
            self._said = now
            self._print(f"{self._stage}: {pace.done}/{pace.total}{pace.text()}")

    def finish(self) -> None:
        """End the stage."""
        pace = self._pace
        if pace.total > 0:
            self._print(f"{self._stage}: {pace.done}/{pace.total} in {duration(self._clock() - self._began)}")
        self._pace = Pace(0, self._clock)

    def close(self) -> None:
        """End whatever runs: also after an error."""

    def _print(self, line: str) -> None:
        print(line, file=self._stream or sys.stderr, flush=True)


class Quiet(Lines):
    """Says nothing (`bench -q`)."""

    def _print(self, line: str) -> None:
        """Ignored."""


class Bar:
    """A bar with rate and time left, drawn by rich."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._bar: RichProgress | None = None
        self._clock = clock
        self._pace = Pace(0, clock)

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` units."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.text import Text

        pace = self._pace = Pace(total, self._clock)

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(pace.text().removeprefix(", "))

        self.close()
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Rate()]
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._bar.start()
        self._bar.add_task(stage, total=total)

    def advance(self, n: int = 1) -> None:
        """`n` more units are done."""
        self._pace.advance(n)
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], n)

    def finish(self) -> None:
        """End the stage; its bar stays on the screen."""
        self.close()

    def close(self) -> None:
        """End whatever runs: also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def watching() -> Iterator[Bar | Lines]:
    """The progress that fits standard error, ended whatever happens."""
    progress: Bar | Lines = Bar() if sys.stderr is not None and sys.stderr.isatty() else Lines()
    if quiet.get():
        progress = Quiet()
    try:
        yield progress
    finally:
        progress.close()


def rate_text(rate: float) -> str:
    """`4.0/s`, `12/min`, `3.2/h`: never 0.0."""
    for factor, unit in ((1, "s"), (60, "min")):
        if rate * factor >= 1:
            return f"{rate * factor:.1f}/{unit}"
    return f"{rate * 3600:.1f}/h"


def duration(seconds: float) -> str:
    """`0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
