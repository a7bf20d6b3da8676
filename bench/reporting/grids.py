"""Small tables of plain text below the plots: their shape and their cells."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.analysis.stats import Interval
from bench.reporting.cells import MISSING, CellText, number

MOST_LINES = 24


@dataclass(frozen=True)
class Grid:
    """A small table: a head, and per line its names and cells. `reasons` say why cells are empty, each once."""

    title: str
    explanation: str
    head: tuple[str, ...]
    lines: tuple[tuple[tuple[str, ...], tuple[CellText, ...]], ...]
    reasons: tuple[str, ...] = ()


def cell(interval: Interval | None, digits: int, *, signed: bool = False, mark: str = "") -> CellText:
    """A number with its interval; "-" for none."""
    if interval is None or not math.isfinite(interval.mean):
        return CellText(MISSING)
    return CellText(number(interval.mean, digits, signed), limits(interval, digits, signed), mark)


def limits(interval: Interval, digits: int, signed: bool) -> str:
    """[low, high] in print; "" for none."""
    if not math.isfinite(interval.low):
        return ""
    return f"[{number(interval.low, digits, signed)}, {number(interval.high, digits, signed)}]"


def reasons(intervals: Iterable[Interval]) -> tuple[str, ...]:
    """Why intervals are absent, each once."""
    return tuple(
        dict.fromkeys(interval.reason for interval in intervals if interval.reason and not math.isfinite(interval.low))
    )
