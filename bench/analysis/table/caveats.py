"""What a careful reader would want to be told about a table, as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.analysis.checkpoints import method_groups
from bench.analysis.comparable import differing_notes, library_notes
from bench.analysis.differences import LEAST_PROMPTS
from bench.analysis.noise import BY_GROUP, noise_text
from bench.analysis.run_notes import gap_notes, no_interval_notes, prompt_notes
from bench.analysis.served_notes import served_notes
from bench.analysis.set_notes import set_notes
from bench.formatting import counted
from bench.generation.cutting import smaller_batches

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row, Table
    from bench.store.runs import MetricFacts

FAILED = "could not be scored: "
"""How the note of a metric begins that failed in a run."""
_SET_IMAGES = 5_000  # the protocol of the ImageReFL paper
_PROTOCOL_SAMPLES = 5


def notes(table: Table, reference: str) -> list[str]:
    """All of them; those about the whole table first."""
    return [*_of_table(table, reference), *_of_metrics(table), *_of_methods(table)]


def _of_table(table: Table, reference: str) -> Iterator[str]:
    run = table.rows[0].run
    if all(row.run.method != reference for row in table.rows):
        against = f"differences are against {table.reference}; set it with bench report --reference METHOD"
        yield f"no run of method {reference}: {against if table.reference else 'no differences against it'}"
    origin = next((row for row in table.rows if row.name == table.reference), None)
    if origin is not None and origin.run.trained_on:
        yield f"{origin.name} was itself tuned: over-optimisation is not judged against it"
    if len(table.rows) == 1:
        yield "one method only: there is nothing to compare it with"
    if len(run.prompts) == 1:
        yield "only 1 prompt: there are no intervals, and nothing can be said of other prompts"
    yield from differing_notes([row.run for row in table.rows], [row.name for row in table.rows])
    yield from prompt_notes(run)
    yield from dict.fromkeys(told for row in table.rows if (told := _grown(row)))
    tests = [
        difference
        for differences in table.differences.values()
        for difference in differences
        if math.isfinite(difference.p_holm)
    ]
    if tests and len(run.prompts) < LEAST_PROMPTS:
        yield f"no full mark is possible in this table: it needs {LEAST_PROMPTS} prompts"
    if tests:
        yield (
            f"Holm's correction covers {counted(len(tests), 'difference')} against {table.reference}: all methods and "
            "metrics of this report; name the runs to report (bench report RUN...) to set the family"
        )
    if noise := noise_text({row.name: row.run.conditions for row in table.rows}):
        same = noise.endswith(BY_GROUP)
        yield noise if same else f"{noise}; a column of pictures need not have the same noise"
    yield from served_notes({row.name: row.run for row in table.rows})
    if run.samples < 2:
        yield "one image per prompt: diversity cannot be scored"
    elif run.samples < _PROTOCOL_SAMPLES and any(facts.kind == "group" for facts in table.metrics):
        yield f"diversity rests on {run.samples} images per prompt: a value over few images is noisy"


def _grown(row: Row) -> str:
    """How an adaptive run (`bench run --until`) stopped, as a sentence; "" of other runs."""
    grown = row.run.store.manifest().grown if row.run.store is not None else {}
    if not grown:
        return ""
    looks = ", ".join(map(str, grown.get("looks", ())))
    return (
        f"adaptive run (--until {grown.get('rule')}): stopped at {len(row.run.prompts)} of {grown.get('of')} prompts, "
        f"{grown.get('stopped') or 'not finished'}; looks at {looks} prompts; intervals of this table are those of a "
        "fixed number of prompts"
    )


def _of_metrics(table: Table) -> Iterator[str]:
    run = table.rows[0].run
    for facts in table.metrics:
        sizes = sorted({row.run.n_images for row in table.rows})
        if facts.kind == "set" and len(sizes) > 1:
            yield f"{facts.display}: N differs between the methods, so that its values are not compared"
        elif facts.kind == "set" and run.n_images < _SET_IMAGES and not run.notes.get(facts.name):
            yield f"{facts.display} on N = {run.n_images:,} images: its value depends on N, compare only at equal N"
        scored = [row for row in table.rows if facts.name in row.cells]
        if len(scored) < len(table.rows):
            missing = ", ".join(row.name for row in table.rows if facts.name not in row.cells)
            yield f"{facts.display} was not scored for {missing}"
        yield from _said(table, facts)
    yield from _without_interval(table)
    yield from _failures(table)
    yield from library_notes([row.run for row in table.rows])


def _failures(table: Table) -> Iterator[str]:
    """Metrics without a column: no run of the table has a value of theirs."""
    columns = {facts.name for facts in table.metrics}
    of: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for name, sentences in row.run.notes.items():
            for sentence in (one for one in sentences if one.startswith(FAILED) and name not in columns):
                of.setdefault((name, sentence), []).append(row.name)
    for (name, sentence), methods in of.items():
        yield f"{name} of {', '.join(methods)} {sentence}"


def _of_methods(table: Table) -> Iterator[str]:
    yield from _of_checkpoints(table)
    lost = any(_lost(row, facts.name) for row in table.rows for facts in table.metrics)
    if lost and len(table.rows) > 1 and not table.common:
        yield (
            "where methods are not scored on the same values, fronts, prices, sweeps and over-optimisation hold with "
            "the worst case there, or are undecided; --common takes only what all have"
        )
    without = [row.name for row in table.rows if _text_left_out(row)]
    if without:
        yield f"what the weights of {', '.join(without)} say of text encoders was ignored (text_encoder = 'ignore')"
    for row in table.rows:
        if row.run.doubt:
            yield f"{row.name}: {row.run.doubt}"
        if row.run.store is not None and (told_of := smaller_batches(row.run.store.manifest())):
            yield f"{row.name}: {told_of}"
        yield from (_unscored(row, facts) for facts in table.metrics if _lost(row, facts.name))
        told = table.differences.get(row.name, ())
        yield from gap_notes(told, f"{row.name} against {table.reference}")
        yield from set_notes(told, f"{row.name} against {table.reference}")


def _without_interval(table: Table) -> Iterator[str]:
    """Why means and differences have no interval; of one prompt that is said of the whole table."""
    if len(table.rows[0].run.prompts) < 2:
        return
    means = [
        (row.name, facts, row.cells[facts.name])
        for facts in table.metrics
        for row in table.rows
        if facts.name in row.cells
    ]
    yield from no_interval_notes(means, len(table.rows))
    pairs = [
        (f"{name} against {table.reference}", one.facts, one.interval)
        for name, differences in table.differences.items()
        for one in differences
    ]
    yield from no_interval_notes(pairs, len(table.differences))


def _of_checkpoints(table: Table) -> Iterator[str]:
    """What intervals say of training again: nothing, of methods with one checkpoint."""
    groups = method_groups([row.run for row in table.rows])
    alone = [group for group in groups if group.trained and not group.several]
    if alone:
        more = [group.name for group in alone if group.runs[0].checkpoint and group.runs[0].checkpoint.replicates]
        how = f" (bench run --replicates adds those of {', '.join(more)})" if more else ""
        yield (
            f"one checkpoint of {', '.join(group.name for group in alone)}: intervals are over prompts and say nothing "
            f"of another training seed{how}"
        )
    yield from (note for group in groups for note in group.notes)


def _text_left_out(row: Row) -> bool:
    method = row.run.store.manifest().resolved_method if row.run.store is not None else None
    return (method or {}).get("text_encoder") == "ignore"


def _lost(row: Row, metric: str) -> int:
    return row.cells[metric].n_unscored if metric in row.cells else 0


def _unscored(row: Row, facts: MetricFacts) -> str:
    rows = row.run.rows(facts.name)
    reasons = rows.loc[rows["value"].isna(), "reason"].dropna()
    why = f", for instance: {reasons.iloc[0]}" if len(reasons) else ""
    lost, n = row.cells[facts.name].n_unscored, row.cells[facts.name].n
    return f"{facts.display} of {row.name}: {lost} of {lost + n} values unscored{why}"


def _said(table: Table, facts: MetricFacts) -> Iterator[str]:
    for sentence, of in noted(table, facts):
        yield f"{facts.display} of {of}: {sentence}" if of else f"{facts.display}: {sentence}"


def noted(table: Table, facts: MetricFacts) -> list[tuple[str, str]]:
    """What the metric itself noted about its values (`bench.score`): (sentence, methods), "" for all of them."""
    of: dict[str, list[str]] = {}
    for row in table.rows:
        for sentence in row.run.notes.get(facts.name, ()):
            of.setdefault(sentence, []).append(row.name)
    return [(one, "" if len(names) == len(table.rows) else ", ".join(names)) for one, names in of.items()]
