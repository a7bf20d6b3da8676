"""What the tables of a suite file have in common: frozen, closed, and strict about types."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]


CLOSED = ConfigDict(frozen=True, extra="forbid")
"""Of every table: nothing is changed afterwards, and no key is unknown."""
