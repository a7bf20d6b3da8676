"""Mistakes of the user, told in one sentence each, with the exit code that belongs to them.

Whoever raises one of these writes a sentence that says what is wrong, where, and what to do. The command line prints
the sentence and ends with `exit_code`; anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from metrics.errors import punctuated


class BenchError(Exception):
    """Base of all mistakes of the user; `str(error)` is the sentence to show, punctuated as all messages are.

    `failures` are the metrics that could not be scored, with their reasons, where that is the mistake; `stores` then
    are the runs, whose other metrics are scored.
    """

    exit_code: ClassVar[int] = 2
    failures: Mapping[str, str] = MappingProxyType({})
    stores: Sequence[Any] = ()

    def __init__(self, message: str) -> None:
        super().__init__(punctuated(message))


class UsageError(BenchError):
    """Wrong usage or bad input (exit code 2)."""

    exit_code: ClassVar[int] = 2


class NotComparableError(BenchError):
    """Two things that must not be compared, such as runs with different prompts (exit code 3)."""

    exit_code: ClassVar[int] = 3


class MissingError(BenchError):
    """Something needed is not there: weights, a package, a device (exit code 4). The sentence says how to get it."""

    exit_code: ClassVar[int] = 4


def system_reason(error: Exception) -> str:
    """The operating system's words for a refusal, without its number and path; of another error, its own words."""
    return getattr(error, "strerror", None) or str(error)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" (with its leading space), or "" when nothing known is close to `word`."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[close[0]]}'?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that nobody knows, with the nearest one and all that there are (returned, not raised)."""
    names = sorted(set(known))
    kinds = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    listing = f" Known {kinds}: {', '.join(names)}." if names else f" There are no {kinds}."
    return UsageError(f"unknown {kind} '{name}'.{suggest(name, names)}{listing}")
