"""`bench doctor`: checks this installation and prints the command that fixes each problem."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UsageError

ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results", metavar="DIR", help="Results folder to search for runs that an older version may have spoiled."
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify-metrics",
        help="Instead, compare every scorer with its original package, in an environment made for the originals.",
    ),
]
OfficialOption = Annotated[
    str | None,
    typer.Option(
        "--official",
        metavar="PYTHON",
        help="With --verify-metrics: use this Python or environment for the originals.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help="With --verify-metrics: folder that caches the originals' environment."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.md", help="With --verify-metrics: write the tables to this file.")
]
ValuesOption = Annotated[
    Path | None,
    typer.Option(
        "--values", metavar="FILE.json", help="With --verify-metrics: write the originals' values to this file."
    ),
]


def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Also check whether the model hub can be reached.")] = False,
    results: ResultsOption = None,
    verify_metrics: VerifyOption = False,
    official: OfficialOption = None,
    cache: CacheOption = None,
    out: OutOption = None,
    values: ValuesOption = None,
) -> int:
    """Check this installation; print commands that fix its problems."""
    from bench.cli.output import show
    from bench.doctor.examine import Report, examine, verify
    from bench.doctor.spoiled import spoiled_runs

    if verify_metrics:
        outcome = verify(official, cache, out, values)
        show(outcome.table())
        typer.echo(outcome.verdict)
        return outcome.exit_code
    given = {"--official": official, "--cache": cache, "--out": out, "--values": values}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} applies only to --verify-metrics: add that, or omit {option}")
    folder = results or Path("results")
    report = examine(ask_hub=hub)
    if folder.is_dir():
        report = Report((*report.findings, *spoiled_runs(folder)))
    show(report.table())
    typer.echo("")
    for command, subjects in report.fixes.items():
        typer.echo(f"to fix {', '.join(subjects)}:\n    {command}")
    typer.echo(report.verdict)
    return report.exit_code
