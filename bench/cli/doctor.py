"""`bench doctor`: what works on this machine, and what mends the rest."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Also ask whether the model hub can be reached.")] = False,
) -> int:
    """Say what works here, and what mends the rest."""
    from bench.cli.output import show
    from bench.doctor import examine

    report = examine(ask_hub=hub)
    show(report.table())
    typer.echo("")
    for command, subjects in report.mends.items():
        typer.echo(f"to mend {', '.join(subjects)}:\n    {command}")
    typer.echo(report.verdict)
    return report.exit_code
