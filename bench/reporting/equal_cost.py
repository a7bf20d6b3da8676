"""What methods cost as an axis of plots, and who is on the front among those that cost no more than another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis.stats import Interval
from bench.analysis.table.costs import cost
from bench.analysis.tradeoff.front_verdicts import DOMINATED, ON, UNDECIDED, verdicts_of
from bench.reporting.cells import MISSING, CellText
from bench.reporting.grids import MOST_LINES, Grid
from bench.store.runs import MetricFacts

if TYPE_CHECKING:
    from bench.analysis.table.rows import Table
    from bench.analysis.tradeoff.pairs import Pairs

COST_AXES = {
    "evaluations": MetricFacts("evaluations", "Network evaluations per image", "cost", "lower"),
    "seconds": MetricFacts("seconds", "Seconds per image", "cost", "lower"),
}
"""Costs that a plot may have as an axis, in the place of a metric."""
HOW_COUNTED = {
    "evaluations": "Network evaluations count each method alone, whatever steps were shared.",
    "seconds": "Seconds were measured over what was really computed: compare only methods that shared no steps.",
}


def with_costs(table: Table, names: Sequence[str]) -> Table:
    """The table with these costs as metrics, without intervals: they are counted, and not estimated."""
    rows = []
    for row in table.rows:
        found = {name: cost(row.run, name) for name in names}
        n = len(row.run.prompts)
        rows.append(
            replace(row, cells=row.cells | {k: Interval(v, math.nan, math.nan, n) for k, v in found.items() if v})
        )
    return replace(table, rows=tuple(rows), metrics=(*table.metrics, *(COST_AXES[name] for name in names)))


def equal_cost_grid(pairs: Pairs, table: Table, reward: MetricFacts, diversity: MetricFacts) -> Grid | None:
    """A line for each cost that a method has: the verdicts among the methods that cost at most as much.

    None where all cost the same, or fewer than two methods have both metrics and a cost on record.
    """
    costs = {
        row.name: found
        for row in table.rows
        if {reward.name, diversity.name} <= row.cells.keys() and (found := cost(row.run, "evaluations")) is not None
    }
    budgets = sorted(set(costs.values()))
    if len(budgets) < 2:
        return None
    lines = []
    for budget in budgets[-MOST_LINES:]:
        within = [name for name, found in costs.items() if found <= budget]
        verdicts = verdicts_of(pairs, within, (diversity.name, reward.name))
        told = [", ".join(name for name in within if verdicts[name] == one) for one in (ON, UNDECIDED, DOMINATED)]
        lines.append(((f"{budget:,g}",), tuple(CellText(names or MISSING) for names in (str(len(within)), *told))))
    absent = [row.name for row in table.rows if row.name not in costs]
    left_out = f" Without a cost on record or one of the metrics, and left out: {', '.join(absent)}." if absent else ""
    return Grid(
        f"{reward.display} and {diversity.display} at equal cost",
        "Who is on the front of the two among the methods whose network evaluations per image, run alone, are at most "
        "those of the line. In each line any method is wrongly placed with at most 5 %; lines are not corrected for "
        f"one another.{left_out}",
        ("At most", "Methods", "Surely on the front", "Undecided", "Surely dominated"),
        tuple(lines),
    )
