"""`bench study report DIR`: what the votes of a study say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption


def study_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Output folder. [default: 'report' in the study's folder]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    results: ResultsOption = Path("results"),
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="postgresql://...",
            envvar="BENCH_STUDY_DATABASE",
            show_envvar=False,
            help="PostgreSQL database of the votes. [default: as the study's folder says, else its study.db]",
        ),
    ] = None,
) -> int:
    """Judge the votes of a study.

    Win rates and strengths with intervals, how far raters agree, the votes that would decide, and how well metrics
    predict people; as text, Markdown, JSON and a plot.
    """
    from bench.reporting.study_report import study_report as report
    from bench.reporting.study_rows import finding_rows

    found = report(folder, out, results=results, database=database)
    rows = finding_rows(found.findings)
    typer.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else found.text.rstrip())
    for path in found.written:
        typer.echo(f"wrote {path}", err=True)
    return 0
