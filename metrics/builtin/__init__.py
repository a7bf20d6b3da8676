"""The metrics of this package: the facts of each, and where its code is. Light, as the catalogue that reads it."""

from __future__ import annotations

from metrics.builtin import detected, group, image, judged, official, set
from metrics.builtin.row import Row

BUILTIN: tuple[Row, ...] = (*image.ROWS, *judged.ROWS, *detected.ROWS, *group.ROWS, *set.ROWS, *official.ROWS)

__all__ = ["BUILTIN"]
