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
quiet: ContextVar[bool] = ContextVar("quiet", default=False)
"""Whether progress is not wanted (`bench -q`)."""


class Lines:
    """Plain lines: one when a stage starts, one every ten seconds, one at its end."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage = ""
        self._total = self._done = 0
        self._began = self._said = 0.0

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` units."""
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._said = self._clock()
        if total > 0:
            self._print(f"{stage}: 0/{total}")

    def advance(self, n: int = 1) -> None:
        """`n` more units are done."""
        self._done += n
        now = self._clock()
        if now - self._said >= SECONDS_BETWEEN_LINES and self._done < self._total:
            self._said = now
            rate = self._done / (now - self._began)
            left = duration((self._total - self._done) / rate)
            self._print(f"{self._stage}: {self._done}/{self._total}, {rate:.1f}/s, {left} left")

    def finish(self) -> None:
        """End the stage."""
        if self._total > 0:
            self._print(f"{self._stage}: {self._done}/{self._total} in {duration(self._clock() - self._began)}")
        self._total = 0

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

    def __init__(self) -> None:
        self._bar: RichProgress | None = None

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
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.1f}/s" if task.speed else "")

        self.close()
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate()]
        columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._bar.start()
        self._bar.add_task(stage, total=total)

    def advance(self, n: int = 1) -> None:
        """`n` more units are done."""
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
