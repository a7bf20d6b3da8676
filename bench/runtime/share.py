"""Shares of a run: `i` of `n`, the same whoever asks, whatever is there already."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import UsageError

MOST_SHARES = 10_000
Place = tuple[int, int]
"""Where something lies: of a prompt, and of a sample of it."""


@dataclass(frozen=True, slots=True)
class Share:
    """The `index`-th (from 1) of `count` shares."""

    index: int
    count: int

    @property
    def name(self) -> str:
        """As the worker of this share is called."""
        return f"shard-{self.index}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def range_of(self, total: int) -> tuple[int, int]:
        """Which of `total` things in a row belong to it: from the first up to before the second.

        >>> [Share(index, 3).range_of(10) for index in (1, 2, 3)]
        [(0, 3), (3, 6), (6, 10)]
        """
        return total * (self.index - 1) // self.count, total * self.index // self.count

    def owns(self, starts: Sequence[Place], place: Place) -> bool:
        """Whether what lies at a place belongs to it, where things in a row begin at `starts` (ascending)."""
        low, high = self.range_of(len(starts))
        return low <= max(0, bisect_right(starts, place) - 1) < high


def read_share(text: str) -> Share:
    """`2/8`. UsageError says how it is written.

    >>> read_share("2/8")
    Share(index=2, count=8)
    """
    named = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
    index, count = (int(named[1]), int(named[2])) if named else (0, 0)
    if not 1 <= index <= count <= MOST_SHARES:
        raise UsageError(f"--shard {text}: write i/n with 1 <= i <= n <= {MOST_SHARES:,}, such as 1/8")
    return Share(index, count)
