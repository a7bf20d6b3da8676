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
        Path | None,
        typer.Option(
            metavar="FILE", help="Thresholds file (TOML), with a table per method and metric.", show_default=False
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Baseline file that max_drop and max_drop_percent compare with.")
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline", help="Write these runs to the baseline file, unless an absolute bound fails."
        ),
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write the verdicts as Markdown.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat an inconclusive verdict as a failure.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Check runs against thresholds, for continuous integration.

    Prints one verdict per rule; the exit code is 1 if a rule fails. In GitHub Actions it also writes annotations and
    the job summary.
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
