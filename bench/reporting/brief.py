"""The table that the terminal shows, from summaries alone: the numbers are those of the rows, which are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from bench.analysis.in_reward import with_training
from bench.analysis.stats import Interval
from bench.analysis.table.build import order_metrics, order_runs
from bench.analysis.table.caveats import FAILED
from bench.analysis.table.rows import Row, Table
from bench.errors import BenchError
from bench.reporting.tables import WIDTH, text
from bench.store.runs import Run, facts_from_card, metric_order
from bench.store.select import display_names
from bench.store.trained import checkpoint_of, searched_by, trained_on_of, tuned_of

if TYPE_CHECKING:
    from bench.store.run_store import RunStore


def text_of_summaries(stores: Sequence[RunStore], width: int = WIDTH) -> str | None:
    """What `bench.reporting.tables.text` says of the runs; None where more is to be read than their summaries.

    That is a summary not of the stored rows, a metric that could not be scored, or several checkpoints of one method.
    """
    try:
        found = [_run(store) for store in stores]
    except BenchError:
        return None
    if not found or None in found or _training_seeds(stores):
        return None
    cells = {run.name: intervals for run, intervals in (one for one in found if one is not None)}
    ordered = with_training(order_runs([one[0] for one in found if one is not None]))
    rows = tuple(Row(shown, run, cells[run.name]) for shown, run in zip(display_names(ordered), ordered, strict=True))
    first = ordered[0]
    return text(Table(first.suite, first.title, order_metrics(ordered), rows, None), width)


def _training_seeds(stores: Sequence[RunStore]) -> bool:
    """Whether several runs are checkpoints of one method: what is said of the method is made of all their rows."""
    made = [one.of for one in (checkpoint_of(store.manifest()) for store in stores) if one is not None]
    return len(set(made)) < len(made)


def _run(store: RunStore) -> tuple[Run, dict[str, Interval]] | None:
    """A run without its rows, and the intervals in its summary."""
    summary, manifest = store.summary(), store.manifest()
    if summary is None or summary.get("run") != store.name or summary.get("made_of") != store.parts():
        return None
    if any(note.startswith(FAILED) for notes in manifest.notes.values() for note in notes):
        return None
    label = manifest.resolved_suite.get("label")
    metrics = [facts_from_card(name, store.score_card(name) or {}, label) for name in store.score_metrics()]
    if {facts.name for facts in metrics} != summary["metrics"].keys():
        return None
    run = Run(
        suite=manifest.suite,
        method=manifest.method,
        name=manifest.run,
        path=store.path,
        prompts=tuple((str(prompt["id"]), str(prompt["text"])) for prompt in manifest.prompts),
        samples=manifest.samples,
        n_images=int(manifest.counts.get("images") or len(manifest.prompts) * manifest.samples),
        trained_on=trained_on_of(manifest),
        tuned=tuned_of(manifest),
        searched=searched_by(manifest),
        metrics={facts.name: facts for facts in sorted(metrics, key=metric_order)},
        scores=cast(Any, None),
        title=str(manifest.resolved_suite.get("title") or ""),
        store=store,
        given=manifest.name,
    )
    return run, {name: _interval(entry) for name, entry in summary["metrics"].items()}


def _interval(entry: Mapping[str, Any]) -> Interval:
    mean, low, high = (math.nan if entry[key] is None else float(entry[key]) for key in ("mean", "ci_low", "ci_high"))
    return Interval(mean, low, high, int(entry["n"]), int(entry["n_unscored"]), reason=entry.get("reason"))
