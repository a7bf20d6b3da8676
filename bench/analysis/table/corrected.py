"""Paired differences of all methods against one, with Holm's correction over the whole table that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.differences import Difference, corrected, difference

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row


def differences_against(base: Row, rows: Sequence[Row]) -> dict[str, tuple[Difference, ...]]:
    """Name -> row minus base on every metric that both have; `p_holm` is corrected over all cells together."""
    found = [
        (row.name, difference(base.run, row.run, name))
        for row in rows
        if row is not base
        for name in base.run.metrics
        if name in row.run.metrics
    ]
    together = corrected([one for _, one in found])
    lines: dict[str, list[Difference]] = {row.name: [] for row in rows if row is not base}
    for (name, _), one in zip(found, together, strict=True):
        lines[name].append(one)
    return {name: tuple(line) for name, line in lines.items()}
