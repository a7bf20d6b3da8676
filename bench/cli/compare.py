"""`bench compare A B`: paired differences between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import CommonOption, OnlySuiteOption, ResultsOption


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Run folder, or its name in the results folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Run to compare with A.")],
    top: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of most changed prompts to list per metric.")
    ] = 3,
    common: CommonOption = False,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Show paired differences between two runs.

    B - A of every metric that both runs have, with 95 % intervals, per prompt tag, and the prompts that changed most.
    """
    import bench
    from bench.cli.output import say
    from bench.reporting.comparison import comparison_text

    say(comparison_text(bench.compare(a, b, top=top, results=results, common=common, suite=suite)).rstrip())
    return 0
