"""Messages of the library go to Python's `logging`, under the logger "bench"; a program decides who hears them.

Every module logs to the logger of its own name: what is dropped, replaced, assumed or made again is a warning, the
course of the work is information. Nothing is configured on import, so in a program of one's own warnings reach standard
error by logging's last resort, and information is silent until that program asks for it. The command line prints both
(`shown`).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LEVEL_VARIABLE = "BENCH_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
LOGGERS = ("bench", "metrics", "prompts")
ONCE: Final = {"once": True}
"""`logger.warning(text, extra=ONCE)` says the same text only once a process; the logger must be of `get_logger`."""


class _Once(logging.Filter):
    """Lets a record that is marked with ONCE pass the first time only, whichever logger says it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, object] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "once", False):
            return True
        # setdefault is one step: of several threads exactly one finds its own mark.
        return self.said.setdefault(record.getMessage(), mark := object()) is mark


class _OneLine(logging.Formatter):
    """The bare text. Names and paths in it are untrusted: they can neither begin a line nor steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "".join(char if char.isprintable() else " " for char in super().formatMessage(record))


class _Stderr(logging.Handler):
    """Writes to what is standard error at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if sys.stderr is not None:
                sys.stderr.write(f"{self.format(record)}\n")
                sys.stderr.flush()
        except Exception:
            self.handleError(record)


_once = _Once()
_stderr = _Stderr()
_stderr.setFormatter(_OneLine())


def get_logger(name: str) -> logging.Logger:
    """The logger called `name`, with the filter that ONCE needs: filters are not handed down from "bench"."""
    logger = logging.getLogger(name)
    logger.addFilter(_once)
    return logger


def show(level: str | None = None) -> None:
    """Print messages from `level` on (None: BENCH_LOG_LEVEL, else "info"), one a line, and to no other handler.

    The processes that this one starts print theirs too: they find the level in BENCH_LOG_LEVEL when they import bench.
    """
    asked = (level or os.environ.get(LEVEL_VARIABLE) or "info").lower()
    chosen = asked if asked in LEVELS else "info"
    os.environ[LEVEL_VARIABLE] = chosen
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(chosen.upper())
        logger.addHandler(_stderr)
        logger.propagate = False
    if asked != chosen:
        known = ", ".join(LEVELS)
        get_logger(__name__).warning(f"{LEVEL_VARIABLE}={asked} is not one of {known}: info is taken", extra=ONCE)


@contextmanager
def shown(level: str | None = None) -> Iterator[None]:
    """As `show` while the context lasts; then all is as it was."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.level, logger.propagate, _stderr in logger.handlers) for logger in loggers]
    variable = os.environ.get(LEVEL_VARIABLE)
    show(level)
    try:
        yield
    finally:
        for logger, old_level, propagate, had in before:
            logger.setLevel(old_level)
            logger.propagate = propagate
            if not had:
                logger.removeHandler(_stderr)
        if variable is None:
            os.environ.pop(LEVEL_VARIABLE, None)
        else:
            os.environ[LEVEL_VARIABLE] = variable
