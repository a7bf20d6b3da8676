"""`bench report`: the page, tables and Pareto plots of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    CommonOption,
    OnlySuiteOption,
    ResultsOption,
    RunsArgument,
    StudyOption,
    TrackOption,
    VerifyOption,
)


def report(
    runs: RunsArgument = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Output folder. [default: 'report' in the results folder]")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", metavar="METHOD", help="Method that differences are computed against.")
    ] = "base",
    gallery: Annotated[
        int | None,
        typer.Option(
            "--gallery",
            metavar="N",
            min=0,
            help="Number of prompts whose images are included in the page. [default: as many as it can show]",
        ),
    ] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(
            "--plot",
            metavar="x=METRIC,y=METRIC",
            help="Also write a figure of these two metrics (plot.pdf, .svg, .png), or of evaluations or seconds. "
            "Repeat for more panels.",
        ),
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Width of that figure, as 3.3in or 84mm. [default: 3.3in, 7in of several]"),
    ] = None,
    no_title: Annotated[bool, typer.Option("--no-title", help="Leave out the title of that figure.")] = False,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="means|paired",
            help="What that figure shows. [default: paired differences where the noise is shared]",
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B", help="Methods in that figure. [default: all]")
    ] = None,
    common: CommonOption = False,
    study: StudyOption = None,
    suite: OnlySuiteOption = None,
    verify: VerifyOption = False,
    track: TrackOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Write a report: a page, Pareto plots and tables.

    The page index.html opens offline; the tables are Markdown, CSV and LaTeX.

    Without RUN, it covers all comparable runs in the results folder.
    """
    import bench
    from bench.cli.output import check_track, say

    check_track(track)
    folder = out or results / "report"
    written = bench.report(
        runs or None,
        folder,
        suite,
        reference=reference,
        gallery=gallery,
        results=results,
        common=common,
        study=study,
        verify=verify,
        plot=plot or (),
        width=width,
        title=not no_title,
        values=values,
        methods=[methods] if methods else (),
    )
    say(f"report: {folder}")
    for path in written or sorted(folder.iterdir()):
        say(f"  {path}")
    if track is not None:
        bench.track(runs or results, track, report=folder, results=results, suite=suite)
    return 0
