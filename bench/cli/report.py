"""`bench report`: tables and Pareto plots of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption, RunsArgument


def report(
    runs: RunsArgument = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write. [default: 'report' in the results folder]")
    ] = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Write tables and Pareto plots of runs.

    Without RUN, of all comparable runs in the results folder.
    """
    from bench.cli.selection import select
    from bench.report import report as write_report

    folder = out or results / "report"
    written = write_report(select(runs, results) if runs else results, folder)
    typer.echo(f"report: {folder}")
    for path in written or sorted(folder.iterdir()):
        typer.echo(f"  {path}")
    return 0
