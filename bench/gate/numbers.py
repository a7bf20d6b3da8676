"""Numbers of a thresholds file, and how a value that is none is shown."""

from __future__ import annotations

import math
from typing import Any

from bench.errors import UsageError


def read_number(where: str, key: str, value: Any) -> float:
    """A finite number as a float; UsageError that names the place and the key for anything else."""
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # an integer beyond any float
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f"{where} {key} must be a number, not {told_value(value)}")
    return number


def told_value(value: Any) -> str:
    """A value as a message shows it, at most 60 characters."""
    try:
        told = repr(value)
    except ValueError:  # an integer of thousands of digits, written in hexadecimal
        return "an integer of thousands of digits"
    return told if len(told) <= 60 else f"{told[:57]}..."
