"""Which method is best on a metric, and from which others it cannot be told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.compare import paired_rows
from bench.stats import holm, independent_difference, paired_difference
from bench.summarise import ROUNDS, prompt_codes

if TYPE_CHECKING:
    from bench.report.model import Row, Table
    from bench.runs import MetricFacts

_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Best:
    """The method with the best mean, and the others whose difference from it is not significant."""

    name: str
    tied: frozenset[str] = frozenset()

    @property
    def significant(self) -> bool:
        """True when it is better than every other method beyond the uncertainty."""
        return not self.tied


def best_of(table: Table, rounds: int = ROUNDS, seed: int = 0) -> dict[str, Best]:
    """Metric -> best method, of the metrics that at least two methods were scored with.

    Image and group metrics: paired differences by prompt, significant when the 95 % interval excludes zero and the
    sign-flip p, Holm-corrected over the other methods, is below 0.05. Set metrics: limits combined (no pairs).
    """
    found = {}
    for facts in table.metrics:
        scored = [row for row in table.rows if facts.name in row.cells and math.isfinite(row.cells[facts.name].mean)]
        if len(scored) < 2:
            continue
        top = (max if facts.higher else min)(scored, key=lambda row: row.cells[facts.name].mean)
        others = [row for row in scored if row is not top]
        tied = _tied_set(facts, top, others) if facts.kind == "set" else _tied(facts, top, others, rounds, seed)
        found[facts.name] = Best(top.name, frozenset(tied))
    return found


def _tied(facts: MetricFacts, top: Row, others: list[Row], rounds: int, seed: int) -> list[str]:
    tests = []
    for row in others:
        rows = paired_rows(row.run, top.run, facts.name)
        before, after = (rows[side].to_numpy(dtype=np.float64) for side in ("value_a", "value_b"))
        tests.append(paired_difference(before, after, prompt_codes(top.run, rows), rounds, seed))
    corrected = holm([test.p for test in tests])
    return [
        row.name
        for row, test, p in zip(others, tests, corrected, strict=True)
        if not (test.interval.excludes_zero and p < _LEVEL)
    ]


def _tied_set(facts: MetricFacts, top: Row, others: list[Row]) -> list[str]:
    mine = top.cells[facts.name]
    return [row.name for row in others if not independent_difference(row.cells[facts.name], mine).excludes_zero]
