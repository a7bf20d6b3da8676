"""`bench list`: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption


def list_entries(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="methods, models, metrics, prompts, suites or runs. [default: list these topics]"
        ),
    ] = None,
    results: ResultsOption = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a list in JSON.")] = False,
) -> int:
    """List methods, models, metrics, prompt sets, suites or runs."""
    from bench.cli.listing import records_of, table_of
    from bench.cli.output import say, show

    if as_json:
        say(json.dumps(records_of(topic, results), indent=1))
    else:
        show(table_of(topic, results))
    return 0
