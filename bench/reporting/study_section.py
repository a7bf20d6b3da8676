"""The section "What people say" of the page: the plot, the tables and the notes of a study."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from bench.analysis.table.rows import Table
from bench.reporting.study_plot import drawn
from bench.reporting.study_tables import parts, raters_grid
from bench.reporting.thumbnails import thumbnail_uri
from bench.store.runs import Run
from bench.study.findings import Findings, TaskFindings
from bench.study.metric_agreement import Disagreement

MOST_OF_A_SET = 4
Shown = tuple[Disagreement, list[tuple[str, list[str]]]]


def section(findings: Findings, table: Table) -> Mapping[str, Any]:
    """What the template is filled with. Methods that people judged in other runs than the page shows are named."""
    votes = sum(one.judged.votes for one in findings.tasks.values())
    return {
        "count": votes,
        "simulated": findings.simulated,
        "plot": base64.b64encode(drawn(findings)["study.svg"]).decode(),
        "parts": [(part, findings.tasks[part.task]) for part in parts(findings)],
        "disagreements": {task: _disagreements(one, findings, table) for task, one in findings.tasks.items()},
        "raters_grid": raters_grid(findings),
        "notes": [*findings.notes, *_other_runs(findings, table)],
    }


def _disagreements(one: TaskFindings, findings: Findings, table: Table) -> list[tuple[str, list[Shown]]]:
    """By metric, the items with the pictures of the methods that people and the metric are for."""
    runs = {row.run.name: row.run for row in table.rows}
    own = {method: runs.get(findings.runs.get(method, "")) for method in findings.methods}
    found = []
    for against in one.metrics:
        rows = [(item, _pictures(item, own)) for item in against.disagreements]
        if rows:
            found.append((against.metric, rows))
    return found


def _pictures(item: Disagreement, runs: Mapping[str, Run | None]) -> list[tuple[str, list[str]]]:
    """(method, thumbnails) of both methods; [] where a run is not on the page or a picture cannot be read."""
    found = []
    for method in (item.people, item.metric):
        run = runs.get(method)
        if run is None or run.store is None or not item.prompt_id:
            return []
        samples = range(min(run.samples, MOST_OF_A_SET)) if item.sample is None else (item.sample,)
        found.append((method, [thumbnail_uri(run.store.image_path(item.prompt_id, sample)) for sample in samples]))
    return found if all(all(uris) for _, uris in found) else []


def _other_runs(findings: Findings, table: Table) -> list[str]:
    shown = {row.run.name for row in table.rows}
    names = {row.name for row in table.rows}
    notes = []
    for method in findings.methods:
        run = findings.runs.get(method, "")
        if run and run not in shown:
            notes.append(f"people judged {method} in the run {run}, which is not on this page")
        elif not run and method not in names:
            notes.append(f"people judged {method}, which is not on this page")
    return notes
