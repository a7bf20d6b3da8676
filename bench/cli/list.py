"""`bench list`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer


def list_entries(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="methods, models, metrics, prompts or suites. [default: list these topics]"
        ),
    ] = None,
) -> int:
    """List the methods, models, metrics, prompt sets or suites."""
    from bench.cli.listing import table_of
    from bench.cli.output import show

    show(table_of(topic))
    return 0
