"""Which method is best on a metric, and from which others it cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.compare import difference

if TYPE_CHECKING:
    from bench.report.model import Row


@dataclass(frozen=True, slots=True)
class Best:
    """The method with the best mean, and the others whose difference from it is not significant."""

    name: str
    tied: frozenset[str] = frozenset()

    @property
    def significant(self) -> bool:
        """True when it is better than every other method beyond the uncertainty."""
        return not self.tied


def best_of(rows: Sequence[Row], metrics: Sequence[str], rounds: int, seed: int = 0) -> dict[str, Best]:
    """Metric -> best method, of the metrics that at least two methods were scored with.

    A difference is significant when its 95 % interval, the same as the tables print, excludes zero. To be best is to
    win every comparison, so no correction for their number is due (intersection-union test, Berger 1982).
    """
    found = {}
    for metric in metrics:
        scored = [row for row in rows if metric in row.cells and math.isfinite(row.cells[metric].mean)]
        if len(scored) < 2:
            continue
        higher = scored[0].run.metrics[metric].direction == "higher"
        top = (max if higher else min)(scored, key=lambda row: row.cells[metric].mean)
        others = [row for row in scored if row is not top]
        tied = [row.name for row in others if not _differ(row, top, metric, rounds, seed)]
        found[metric] = Best(top.name, frozenset(tied))
    return found


def _differ(a: Row, b: Row, metric: str, rounds: int, seed: int) -> bool:
    return difference(a.run, b.run, metric, rounds, seed).interval.excludes_zero
