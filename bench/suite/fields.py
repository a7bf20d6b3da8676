"""Types of a suite's values, and what its tables have in common: frozen, no unknown key."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Weight = Annotated[Number, Field(ge=0, le=1)]
Guidance = Annotated[Number, Field(ge=1)]
Prompt = Annotated[str, Field(strict=True)]
Skip = Annotated[Whole, Field(ge=1)]


class Part(BaseModel):
    """A table of a suite."""

    model_config = ConfigDict(frozen=True, extra="forbid")
