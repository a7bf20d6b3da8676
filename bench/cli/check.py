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
    from bench.gate.check import run_gate, tell_actions, write_files
    from bench.gate.check import update as update_file
    from bench.store.select import select

    chosen = select(runs, results) if runs else results
    if update_baseline:
        outcome = update_file(chosen, thresholds, baseline, strict, files=bool(junit or summary))
    else:
        outcome = run_gate(chosen, thresholds, baseline, strict)
    typer.echo(outcome.text.rstrip())
    for path in write_files(outcome, junit, summary):
        typer.echo(f"wrote {path}", err=True)
    typer.echo(tell_actions(outcome, os.environ), nl=False)
    return outcome.code
