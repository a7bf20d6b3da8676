"""`bench compare A B`: paired differences between two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import CommonOption, ResultsOption, split


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Run folder, or its name in the results folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Run to compare with A.")],
    top: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of most changed prompts to list per metric.")
    ] = 3,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="A,B",
            help="Metrics to compare: what Holm's correction covers. [default: all that both runs have]",
        ),
    ] = None,
    common: CommonOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Show paired differences between two runs.

    B - A of every metric that both runs have, with 95 % intervals, per prompt tag, and the prompts that changed most.
    """
    import bench
    from bench.reporting.comparison import comparison_text

    found = bench.compare(a, b, top=top, results=results, metrics=split(metrics) or None, common=common)
    typer.echo(json.dumps(found.data, indent=1) if as_json else comparison_text(found).rstrip())
    return 0
