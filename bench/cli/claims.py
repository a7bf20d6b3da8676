"""`bench claims FILE.toml`: which sentences the runs carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption, RunsArgument


def claims(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The claims: tables [[claim]].")],
    runs: RunsArgument = None,
    strict: Annotated[bool, typer.Option("--strict", help="An undecided claim fails, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Judge claims about runs: holds, does not hold, undecided, not comparable.

    The measured value stands beside the reported one. Exit code 1 when a claim does not hold, 3 when one is not
    comparable.
    """
    import bench
    from bench.analysis.claims import claim_rows

    found = bench.claims(file, runs or None, strict=strict, results=results)
    typer.echo(json.dumps(claim_rows(found), indent=1) if as_json else found.text.rstrip())
    return found.code
