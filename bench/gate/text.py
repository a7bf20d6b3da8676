"""Verdicts as aligned text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from bench.formatting import aligned, one_line
from bench.gate.verdict import Verdict, counted, daggers_told, drops_told, next_step, noise_told, outcome_word


def verdicts_text(verdicts: Sequence[Verdict], code: int | None = None) -> str:
    """One line per verdict and a count, for a terminal; with the exit `code` also what the gate came to."""
    rows = [
        [
            verdict.status.replace("_", " "),
            *map(
                one_line,
                (verdict.who, verdict.column, verdict.message),
            ),
        ]
        for verdict in verdicts
    ]
    drops, daggers, step = drops_told(verdicts), daggers_told(verdicts), next_step(verdicts)
    return (
        aligned(["verdict", "method", "metric", ""], rows, left=4)
        + (f"{daggers}\n" if daggers else "")
        + "".join(f"{one_line(sentence)}\n" for sentence in noise_told(verdicts))
        + (f"{drops}\n" if drops else "")
        + (f"{step}\n" if step else "")
        + (f"gate {outcome_word(verdicts, code)}: " if code is not None else "")
        + f"{counted(verdicts)}\n"
    )
