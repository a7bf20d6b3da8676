"""Which of the stored values of a metric can be believed: in the metric's range, and of the pictures that are recorded.

A value that cannot is NaN with the reason, never left out in silence and never averaged. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.store.outdated import OUT_OF_RANGE, REPLACED
from bench.store.records import ScoreRow
from bench.store.ties import Ties

SLACK = 1e-6
"""Of the width of a range, by which rounding may carry a value over its ends."""


def usable(rows: Sequence[ScoreRow], ties: Ties, card: Mapping[str, Any]) -> tuple[list[ScoreRow], list[str]]:
    """The rows, those that cannot be believed as NaN with the reason; and each such reason once, as a sentence part."""
    found: list[ScoreRow] = []
    faults: dict[str, int] = {}
    low, high = limits(card)
    for row in rows:
        reason = None
        if row.image_sha256 is not None and row.image_sha256 != ties.of(row.prompt_id, row.sample_of_picture):
            reason = REPLACED
        elif row.value < low or row.value > high:
            reason = f"{OUT_OF_RANGE}{row.value:.6g} lies outside the range {range_text(card)} of the metric"
        if reason is None or math.isnan(row.value):
            found.append(row)
            continue
        faults[reason] = faults.get(reason, 0) + 1
        found.append(replace(row, value=math.nan, reason=reason))
    return found, [f"{count} refused: {reason}" for reason, count in faults.items()]


def limits(card: Mapping[str, Any]) -> tuple[float, float]:
    """The lowest and highest value that a metric can have, by its card, with the slack of rounding.

    >>> limits({"low": 0.0, "high": 1.0})
    (-1e-06, 1.000001)
    >>> limits({"low": None})
    (-inf, inf)
    """
    low, high = (_end(card.get(key), fallback) for key, fallback in (("low", -math.inf), ("high", math.inf)))
    width = high - low
    slack = SLACK * (width if math.isfinite(width) else 1.0)
    return low - slack, high + slack


def range_text(card: Mapping[str, Any]) -> str:
    """A metric's range as it is written, such as "[0, 1]" or "[0, inf)"."""
    low, high = (_end(card.get(key), fallback) for key, fallback in (("low", -math.inf), ("high", math.inf)))
    return f"{'[' if math.isfinite(low) else '('}{low:g}, {high:g}{']' if math.isfinite(high) else ')'}"


def out_of_range(value: float, card: Mapping[str, Any]) -> str | None:
    """Why a value that a metric gave is refused; None for one that is in its range."""
    low, high = limits(card)
    if low <= value <= high or math.isnan(value):
        return None
    return f"the metric gave {value:.6g}, which lies outside its range {range_text(card)}"


def strangers(rows: Sequence[ScoreRow], prompts: Collection[str], samples: int, ties: Ties) -> list[ScoreRow]:
    """The rows of a prompt or sample that the run does not have, unless such a picture is recorded."""
    return [
        row
        for row in rows
        if row.prompt_id is not None
        and (row.prompt_id not in prompts or (row.sample is not None and not 0 <= row.sample < samples))
        and not ties.recorded(row.prompt_id, row.sample)
    ]


def _end(value: Any, fallback: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else fallback
