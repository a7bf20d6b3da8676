"""Rows of methods over their training seeds, for tables in which any method has several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.checkpoints import MethodRuns, method_difference, method_groups, method_interval
from bench.analysis.differences import corrected
from bench.analysis.table.rows import MethodRow
from bench.store.runs import Run


def method_rows(runs: Sequence[Run], metrics: Sequence[str], reference: str = "base") -> tuple[MethodRow, ...]:
    """One row a method, the reference included; () where every method has one checkpoint.

    Differences are against the method of the first run of `reference`, with Holm's correction over all of them.
    """
    groups = method_groups(runs)
    if not any(group.several for group in groups):
        return ()
    base = next((group for group in groups if any(run.method == reference for run in group.runs)), None)
    pairs = [
        (group, name)
        for group in groups
        if base is not None and group is not base
        for name in metrics
        if _scored(group, name) and _scored(base, name)
    ]
    tests = corrected([method_difference(base, group, name) for group, name in pairs if base is not None])
    return tuple(
        MethodRow(
            group,
            {name: method_interval(group, name) for name in metrics if _scored(group, name)},
            tuple(test for (of, _), test in zip(pairs, tests, strict=True) if of is group),
        )
        for group in groups
    )


def _scored(group: MethodRuns, metric: str) -> bool:
    return any(metric in run.metrics for run in group.runs)
