"""`bench check`: the gate for continuous integration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption, RunsArgument


def check(
    runs: RunsArgument = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML: a table per method and metric.", show_default=False)
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What max_drop and max_drop_percent are measured against.")
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write these runs to --baseline, unless an absolute bound fails.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JUnit XML.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Also write them as Markdown.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive verdict fails, too.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Judge runs by thresholds, for CI.

    A verdict per rule; exit code 1 when one fails. In GitHub Actions also annotations and the job's summary.
    """
    import bench
    from bench.gate.check import tell_actions

    outcome = bench.check(
        runs or None,
        thresholds,
        baseline,
        update_baseline=update_baseline,
        strict=strict,
        junit=junit,
        summary=summary,
        results=results,
    )
    typer.echo(outcome.text.rstrip())
    for path in outcome.written:
        typer.echo(f"wrote {path}", err=True)
    typer.echo(tell_actions(outcome, os.environ), nl=False)
    return outcome.code
