"""The section "What people say" of the page: the plot, the tables and the notes of a study."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from bench.analysis.table.rows import Table
from bench.reporting.study_plot import drawn
from bench.reporting.study_tables import parts, raters_grid
from bench.study.findings import Findings


def section(findings: Findings, table: Table) -> Mapping[str, Any]:
    """What the template is filled with. Methods that people judged in other runs than the page shows are named."""
    votes = sum(one.judged.votes for one in findings.tasks.values())
    return {
        "count": votes,
        "plot": base64.b64encode(drawn(findings)["study.svg"]).decode(),
        "parts": [(part, findings.tasks[part.task]) for part in parts(findings)],
        "raters_grid": raters_grid(findings),
        "notes": [*findings.notes, *_other_runs(findings, table)],
    }


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
