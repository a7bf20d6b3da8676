"""Colour for verdicts and marks on a terminal: the words stay, so that nothing is said by colour alone.

NO_COLOR (https://no-color.org) turns it off wherever the text goes, FORCE_COLOR turns it on in pipes too; a terminal
that calls itself dumb has none. The text is complete and aligned before it is coloured.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

_GREEN, _RED, _YELLOW, _END = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_WORDS: Mapping[str, str] = {
    "passed": _GREEN,
    "failed": _RED,
    "undecided": _YELLOW,
    "missing": _YELLOW,
    "not comparable": _YELLOW,
    "holds": _GREEN,
    "does not hold": _RED,
}
_MARKS: Mapping[str, str] = {"▲": _GREEN, "△": _GREEN, "▼": _RED, "▽": _RED}
_FIRST = re.compile(rf"^(gate )?({'|'.join(_WORDS)})(?=  |:|$)", re.MULTILINE)  # a first column, or the last line
_MARK = re.compile("[▲△▼▽]")


def colours(stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> bool:
    """Whether text for `stream` (standard output) is coloured."""
    stream = sys.stdout if stream is None else stream
    environment = os.environ if environment is None else environment
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return environment["FORCE_COLOR"] != "0"
    return environment.get("TERM") != "dumb" and stream is not None and stream.isatty()


def coloured(text: str) -> str:
    """The text with colour for the verdicts at the beginning of its lines, and for the marks ▲ △ ▼ ▽.

    >>> coloured("passed  base").replace(chr(27), "ESC")
    'ESC[32mpassedESC[0m  base'
    """
    text = _FIRST.sub(lambda found: f"{found[1] or ''}{_WORDS[found[2]]}{found[2]}{_END}", text)
    return _MARK.sub(lambda found: f"{_MARKS[found[0]]}{found[0]}{_END}", text)
