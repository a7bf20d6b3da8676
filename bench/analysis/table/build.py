"""Comparable runs -> the table that the terminal, the report and its plots show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.analysis.common import over_common
from bench.analysis.comparable import with_equal_cards
from bench.analysis.in_reward import training_notes, with_training
from bench.analysis.summary import metric_interval
from bench.analysis.table.best import best_of
from bench.analysis.table.caveats import notes as notes_of
from bench.analysis.table.common_noise import other_noise
from bench.analysis.table.corrected import differences_against
from bench.analysis.table.method_rows import method_rows
from bench.analysis.table.rows import N_RESAMPLES, Row, Table, family
from bench.analysis.table.sweeps import curves
from bench.methods.catalogue import display_rank
from bench.store.runs import MetricFacts, Run, metric_order
from bench.store.select import LeftOut, display_names
from bench.store.shown import shown_methods


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key that puts switch_step=5 before switch_step=20."""
    parts = name.replace("]", "").replace("=", "\0").replace("-", "\0").split("\0")
    return [(0, float(part), "") if part.replace(".", "", 1).isdigit() else (1, 0.0, part) for part in parts]


def order_runs(runs: Sequence[Run]) -> list[Run]:
    """In the order of the catalogue's rows, base first; methods that it does not have by name; sweeps by setting."""
    named = sorted(
        zip(shown_methods(runs), runs, strict=True),
        key=lambda one: (display_rank(family(one[1].method)), _natural(one[0]), one[1].name),
    )
    return [run for _, run in named]


def order_metrics(runs: Sequence[Run]) -> tuple[MetricFacts, ...]:
    """Quality, diversity, then set metrics, each in the order in which readers look for them."""
    facts = {name: one for run in runs for name, one in run.metrics.items()}
    return tuple(sorted(facts.values(), key=metric_order))


def build(
    runs: Sequence[Run],
    left_out: Sequence[LeftOut] = (),
    reference: str = "base",
    n_resamples: int = N_RESAMPLES,
    common: bool = False,
) -> Table:
    """The table of comparable runs; differences are against the first run whose method is `reference`, else the first.

    A metric that was computed otherwise for some runs is taken out of those, which a note says. `common`: only over the
    values that all runs have, which the caption says.
    """
    runs = with_equal_cards(runs)
    kept, captions = over_common(runs) if common else (runs, ())
    as_read = order_runs(kept)
    ordered = with_training(as_read)
    rows = tuple(
        Row(shown, run, {name: metric_interval(run, name) for name in run.metrics})
        for shown, run in zip(display_names(ordered), ordered, strict=True)
    )
    base = next((row for row in rows if row.run.method == reference), rows[0] if len(rows) > 1 else None)
    differences = differences_against(base, rows) if base is not None else {}
    facts = order_metrics(ordered)
    table = Table(
        suite=ordered[0].suite,
        title=ordered[0].title or ordered[0].suite,
        metrics=facts,
        rows=rows,
        reference=base.name if base else None,
        differences=differences,
        n_resamples=n_resamples,
        best=best_of(rows, [one.name for one in facts]),
        curves=tuple(curves(rows)),
        common=captions,
        methods=method_rows(ordered, [one.name for one in facts], reference),
        same_noise=not other_noise(rows),
    )
    notes = notes_of(table, reference) + training_notes(as_read, [row.name for row in rows])
    notes += [f"left out: {omitted.run} ({omitted.why})" for omitted in left_out]
    return replace(table, notes=tuple(notes))
