"""What stands in for a value that is missing where a claim has to hold all the same: the worst case (Manski 2003)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.bounded import Bounds


def worst_case(bounds: Bounds | None, seen: Sequence[Bounds]) -> tuple[Bounds, str]:
    """The ends that unscored values are supposed to have, and what they are, as a clause."""
    low = bounds.low if bounds else -math.inf
    high = bounds.high if bounds else math.inf
    known = math.isfinite(low) and math.isfinite(high)
    if not math.isfinite(low):
        low = min((one.low for one in seen), default=math.nan)
    if not math.isfinite(high):
        high = max((one.high for one in seen), default=math.nan)
    what = "the ends of the metric's range" if known else "the lowest and the highest value seen in the runs compared"
    return Bounds(low, high), f"{low:.4g} and {high:.4g}, {what}"


def undecided_by_gaps(gaps: int, filled: str) -> str:
    """Why a difference has no mark although the pairs' interval excludes zero, as a clause."""
    units = "1 value is" if gaps == 1 else f"{gaps:,} values are"
    return f"{units} scored on one side only; with the worst case there ({filled}) nothing is decided"


def identical_text(gaps: int) -> str:
    """Why a difference is exactly 0, as a clause."""
    rest = f"; {gaps:,} {'value is' if gaps == 1 else 'values are'} scored on one side only, of which that says nothing"
    return "the pictures are identical" if not gaps else f"the pictures of all pairs are identical{rest}"
