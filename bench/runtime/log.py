"""A channel for messages of the library to whoever sits in front of it; it prints nothing to standard output.

The command line may replace the sink (to write above a progress bar); by default messages go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

Sink = Callable[[str], None]


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _Channel:
    """The current sink, and what was already said once."""

    def __init__(self) -> None:
        self.sink: Sink = _to_stderr
        self.said: set[str] = set()


_channel = _Channel()


def note(text: str, *, once: bool = False) -> None:
    """Tell the user one line of text; with `once`, the same text is told only the first time in this process."""
    if once:
        if text in _channel.said:
            return
        _channel.said.add(text)
    _channel.sink(text)


def set_sink(sink: Sink | None) -> Sink:
    """Send messages to `sink` (None: back to standard error); returns the sink that was in use, to be restored."""
    previous = _channel.sink
    _channel.sink = _to_stderr if sink is None else sink
    return previous
