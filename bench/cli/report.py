"""`bench report`: the page, tables and Pareto plots of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import CommonOption, ResultsOption, RunsArgument


def report(
    runs: RunsArgument = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write. [default: 'report' in the results folder]")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", metavar="METHOD", help="The method that differences are taken against.")
    ] = "base",
    gallery: Annotated[
        int | None,
        typer.Option(
            "--gallery",
            metavar="N",
            min=0,
            help="Prompts whose images the page brings along; 0 for none. [default: as many as stay usable]",
        ),
    ] = None,
    common: CommonOption = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Write the report of runs: index.html (opens offline), Pareto plots, and tables for papers and programs.

    Without RUN, of all comparable runs in the results folder.
    """
    import bench

    folder = out or results / "report"
    written = bench.report(runs or None, folder, reference=reference, gallery=gallery, results=results, common=common)
    typer.echo(f"report: {folder}")
    for path in written or sorted(folder.iterdir()):
        typer.echo(f"  {path}")
    return 0
