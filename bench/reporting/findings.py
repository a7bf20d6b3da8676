"""What a report says beside its two tables: all pairs and the summaries that do not rest on the mean. Computed once."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.several import Several, compare_methods, compare_runs
from bench.analysis.table.robust_rows import Robust, robust_of
from bench.analysis.table.rows import Table
from bench.reporting.all_pairs import pairs_csv, pairs_markdown, ranks_csv
from bench.reporting.records import records_csv
from bench.reporting.robust import profile_records, robust_markdown, robust_records
from bench.reporting.seeds import seed_records, seeds_markdown
from bench.reporting.tags import Tags, tags_csv, tags_of
from bench.store.runs import Run

_LEAST = 3  # methods for all pairs: two are compared in the tables already


@dataclass(frozen=True)
class Findings:
    """Of one table. `several` is None below three methods, `tags` of prompts without any or without a reference."""

    robust: Robust
    several: Several | None = None
    tags: Tags | None = None


def findings_of(table: Table, larger: Run | None = None) -> Findings:
    """Pairs are of methods over their checkpoints where the table has those (`Table.methods`), else of its runs.

    `larger` is the reference on a larger prompt set, which narrows means (`larger_reference`).
    """
    robust = robust_of(table, larger)
    several = None
    if table.methods:
        if len(table.methods) >= _LEAST:
            several = compare_methods([row.group for row in table.methods])
    elif len(table.rows) >= _LEAST:
        several = compare_runs([row.run for row in table.rows])
    return Findings(robust, several, tags_of(table))


def markdown_parts(table: Table, findings: Findings | None) -> list[list[str]]:
    """Parts of table.md, each with its heading; training seeds whether or not there are findings."""
    parts = [seeds_markdown(table)]
    if findings is not None and findings.several is not None:
        parts.append(["## All pairs", "", *pairs_markdown(findings.several)])
    if findings is not None:
        parts.append(robust_markdown(table, findings.robust))
    return [part for part in parts if part]


def found_files(table: Table, findings: Findings) -> dict[str, str | bytes]:
    """The CSV files of a report that hold findings; those without a row are not there."""
    several = findings.several.metrics if findings.several is not None else ()
    files = {
        "methods.csv": records_csv(seed_records(table)),
        "pairs.csv": pairs_csv(several),
        "ranks.csv": ranks_csv(several),
        "robust.csv": records_csv(robust_records(findings.robust)),
        "profiles.csv": records_csv(profile_records(findings.robust.profiles)),
        "tags.csv": tags_csv(table, findings.tags),
    }
    return {name: content for name, content in files.items() if content}
