"""`bench compare A B [C ...]`: paired differences between two runs, or all pairs of more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import CommonOption, OnlySuiteOption, ResultsOption, split


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Run folder, or its name in the results folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Run to compare with A.")],
    others: Annotated[
        list[str] | None,
        typer.Argument(metavar="[C]...", help="More runs: every pair is compared.", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of two runs: number of most changed prompts to list per metric.")
    ] = 3,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="A,B",
            help="Metrics to compare: what Holm's correction covers. [default: all that were scored]",
        ),
    ] = None,
    replicates: Annotated[
        bool,
        typer.Option("--replicates", help="Compare the methods over all their checkpoints (training seeds) as well."),
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of aligned text.")] = False,
    common: CommonOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Show paired differences between two or more runs.

    Of two runs: B - A of every metric that both have, with 95 % intervals, per prompt tag, and the prompts that changed
    most. Of three or more: a matrix of differences per metric, which methods cannot be told apart or from the best, and
    the ranks that each may have.
    """
    import bench
    from bench.analysis.several import Several
    from bench.cli.output import say, say_verdicts
    from bench.errors import UsageError
    from bench.reporting.all_pairs import several_markdown, several_text
    from bench.reporting.comparison import comparison_markdown, comparison_text

    if as_json and markdown:
        raise UsageError("give either --json or --markdown, not both")
    chosen = split(metrics) or None
    how: dict[str, Any] = {"results": results, "common": common, "replicates": replicates, "metrics": chosen}
    found = bench.compare(a, b, top, others=others or [], suite=suite, **how)
    if as_json:
        say(json.dumps(found.data, indent=1))
    elif markdown:
        say((several_markdown(found) if isinstance(found, Several) else comparison_markdown(found)).rstrip())
    else:
        say_verdicts((several_text(found) if isinstance(found, Several) else comparison_text(found)).rstrip())
    return 0
