"""Which method is best on a metric, and from which others it cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.differences import difference
from bench.analysis.extrapolation import is_refused
from bench.analysis.table.rows import Best

if TYPE_CHECKING:
    from bench.analysis.differences import Difference
    from bench.analysis.table.rows import Row


def best_of(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, Best]:
    """Metric -> best method, of the metrics that at least two methods were scored with.

    A method beats another when the 95 % interval of their paired difference, the same as the tables print, excludes
    zero in its favour. Where values are missing, pairs and means rest on different images and may disagree: then
    neither beats the other here. Where distances cannot be compared at all (FID on few images, sets of unequal
    size), none is named. To be best is to win every comparison, so no correction for their number is due
    (intersection-union test, Berger 1982).
    """
    found = {}
    for metric in metrics:
        scored = [row for row in rows if metric in row.cells and math.isfinite(row.cells[metric].mean)]
        if len(scored) < 2:
            continue
        higher = scored[0].run.metrics[metric].direction == "higher"
        top = (max if higher else min)(scored, key=lambda row: row.cells[metric].mean)
        others = [row for row in scored if row is not top]
        differences = [difference(row.run, top.run, metric) for row in others]
        if any(is_refused(one.interval) for one in differences) or not any(map(_is_compared, differences)):
            continue
        tied = [row.name for row, one in zip(others, differences, strict=True) if one.better != "b"]
        found[metric] = Best(top.name, frozenset(tied))
    return found


def _is_compared(one: Difference) -> bool:
    return math.isfinite(one.interval.low)
