"""`bench check`: the gate for continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption, RunsArgument


def check(
    thresholds: Annotated[Path, typer.Option(metavar="FILE", help="TOML: a table per method and metric.")],
    runs: RunsArgument = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What max_drop and max_drop_percent are measured against.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JUnit XML.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive verdict fails, too.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Judge runs by thresholds, for CI.

    A verdict per method and metric; exit code 1 when one fails.
    """
    from bench.check import check as judge
    from bench.check import exit_code, verdicts_text
    from bench.cli.selection import select

    verdicts = judge(select(runs, results) if runs else results, thresholds, baseline=baseline)
    if junit is not None:
        from bench.files import atomic_write
        from bench.junit import junit as junit_xml

        atomic_write(junit, junit_xml(verdicts, strict))
    typer.echo(verdicts_text(verdicts).rstrip())
    return exit_code(verdicts, strict)
