"""Whether all methods are known to have had the same noise, so that a column of pictures shows the method alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row

_NEEDED = ("seed", "sampler")  # images that were only scored (`bench score --images`) have neither
_CONDITIONS = (*_NEEDED, "sampling_version")


def made_here(row: Row) -> bool:
    """True when it is on record how the images were sampled."""
    return all(row.run.conditions.get(key) is not None for key in _NEEDED)


def leading(rows: Sequence[Row]) -> Row:
    """The first run whose sampling is on record, or the first of all."""
    return next((row for row in rows if made_here(row)), rows[0])


def other_noise(rows: Sequence[Row]) -> tuple[str, ...]:
    """Names of the methods not known to have the noise of the others; all of them when nothing is on record."""
    lead = leading(rows)
    wanted = [lead.run.conditions.get(key) for key in _CONDITIONS]
    return tuple(
        row.name for row in rows if not made_here(row) or [row.run.conditions.get(key) for key in _CONDITIONS] != wanted
    )
