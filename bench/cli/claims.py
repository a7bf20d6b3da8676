"""`bench claims FILE.toml`: which claims the runs support."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import OnlySuiteOption, ResultsOption, RunsArgument, StudyOption


def claims(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Claims file, with a table per claim.")],
    runs: RunsArgument = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat an undecided claim as a failure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    study: StudyOption = None,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Check published claims against runs.

    Each claim holds, does not hold, is undecided or is not comparable; the measured value is printed beside the
    reported one. The exit code is 1 when a claim does not hold, 3 when one is not
    comparable.
    """
    import bench
    from bench.analysis.claims import claim_rows
    from bench.cli.output import say, say_verdicts

    found = bench.claims(file, runs or None, strict=strict, results=results, study=study, suite=suite)
    if as_json:
        say(json.dumps(claim_rows(found), indent=1))
    else:
        say_verdicts(found.text.rstrip())
    return found.code
