"""`bench list`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer


def list_entries(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[methods|models|metrics|prompts|suites]", help="What to list. [default: the topics]"),
    ] = None,
) -> int:
    """Show the methods, models, metrics, prompts, suites."""
    from bench.cli.listing import table_of
    from bench.cli.output import show

    show(table_of(topic))
    return 0
