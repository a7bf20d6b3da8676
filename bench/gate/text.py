"""Verdicts as aligned text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.formatting import aligned, one_line
from bench.gate.verdict import Verdict, counted, drops_told, outcome_word


def verdicts_text(verdicts: Sequence[Verdict], code: int | None = None) -> str:
    """One line per verdict and a count, for a terminal; with the exit `code` also what the gate came to."""
    rows = [
        [
            verdict.status.replace("_", " "),
            *map(
                one_line,
                (verdict.who, verdict.metric if math.isfinite(verdict.bound) else verdict.rule, verdict.message),
            ),
        ]
        for verdict in verdicts
    ]
    drops = drops_told(verdicts)
    return (
        aligned(["verdict", "method", "metric", ""], rows, left=4)
        + (f"{drops}\n" if drops else "")
        + (f"gate {outcome_word(verdicts, code)}: " if code is not None else "")
        + f"{counted(verdicts)}\n"
    )
