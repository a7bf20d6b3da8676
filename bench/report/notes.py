"""What a careful reader would want to be told about a table, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.comparable import library_notes

if TYPE_CHECKING:
    from bench.report.model import Row, Table
    from bench.runs import MetricFacts

_FEW_PROMPTS = 10
_FID_IMAGES = 5_000  # the protocol of the ImageReFL paper
_PROTOCOL_SAMPLES = 5
# Checkpoints whose training images are known (official configuration of ImageReFL: COCO captions, train).
_TRAINED_ON_IMAGES = (("ControlGenAI/ImageReFL", "coco"),)


def notes(table: Table, reference: str) -> list[str]:
    """All of them; those about the whole table first."""
    return [*_of_table(table, reference), *_of_metrics(table), *_of_methods(table)]


def _of_table(table: Table, reference: str) -> Iterator[str]:
    run = table.rows[0].run
    if table.reference is None:
        yield f"no run of method {reference}: no differences against it"
    if len(table.rows) == 1:
        yield "one method only: there is nothing to compare it with"
    if len(run.prompts) < _FEW_PROMPTS:
        yield f"only {len(run.prompts)} prompts: the intervals are wide and rough"
    if run.samples < 2:
        yield "one image per prompt: diversity cannot be scored"
    elif run.samples < _PROTOCOL_SAMPLES and any(facts.kind == "group" for facts in table.metrics):
        yield f"diversity rests on {run.samples} images per prompt: a value over few images is noisy"


def _of_metrics(table: Table) -> Iterator[str]:
    run = table.rows[0].run
    for facts in table.metrics:
        if facts.name == "fid" and run.n_images < _FID_IMAGES:
            yield f"{facts.display} on N = {run.n_images:,} images: its value depends on N, compare only at equal N"
        scored = [row for row in table.rows if facts.name in row.cells]
        if len(scored) < len(table.rows):
            missing = ", ".join(row.name for row in table.rows if facts.name not in row.cells)
            yield f"{facts.display} was not scored for {missing}"
        for sentence in facts.card.get("notes") or ():
            yield f"{facts.display}: {sentence}"
    yield from library_notes([row.run for row in table.rows])


def _of_methods(table: Table) -> Iterator[str]:
    for row in table.rows:
        yield from (_unscored(row, facts) for facts in table.metrics if _lost(row, facts.name))
        yield from _leakage(table, row)


def _lost(row: Row, metric: str) -> int:
    return row.cells[metric].n_unscored if metric in row.cells else 0


def _unscored(row: Row, facts: MetricFacts) -> str:
    rows = row.run.rows(facts.name)
    reasons = rows.loc[rows["value"].isna(), "reason"].dropna()
    why = f", for instance: {reasons.iloc[0]}" if len(reasons) else ""
    lost, n = row.cells[facts.name].n_unscored, row.cells[facts.name].n
    return f"{facts.display} of {row.name}: {lost} of {lost + n} values unscored{why}"


def _leakage(table: Table, row: Row) -> Iterator[str]:
    """Set metrics against images that the method was trained on."""
    sets = [facts for facts in table.metrics if facts.kind == "set" and facts.name in row.cells]
    trained = trained_images(row)
    if not sets or not trained:
        return
    from metrics.sets import leakage_notes

    for facts in sets:
        for name in reference_names(row, facts):
            for sentence in leakage_notes(f"{facts.display} of {row.name}", name, trained):
                yield sentence
                break


def trained_images(row: Row) -> list[str]:
    """Names of the image sets that a checkpoint saw: as its manifest says, or as is known of published ones."""
    store = row.run.store
    method: Mapping[str, Any] = (store.manifest().resolved_method if store else None) or {}
    said = method.get("trained_images") or ()
    weights = str(method.get("weights") or "")
    known = [name for start, name in _TRAINED_ON_IMAGES if weights.startswith(start)]
    return [*map(str, said), *known]


def reference_names(row: Row, facts: MetricFacts) -> list[str]:
    """Names under which the reference set of a set metric goes: as asked for, and its first word."""
    asked = (facts.card.get("asked") or {}).get("reference") or {}
    found = []
    for key in ("name", "set", "kind", "path"):
        text = str(asked.get(key) or "") if isinstance(asked, Mapping) else str(asked)
        text = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
        found += [text, text.split("-")[0].split("_")[0]] if text else []
    return list(dict.fromkeys(found))
