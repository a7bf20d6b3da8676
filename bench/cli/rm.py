"""`bench rm`: remove runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption


def rm(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs by id, --name or folder, as 'bench list runs' shows.")
    ],
    results: ResultsOption = Path("results"),
) -> int:
    """Remove runs, with their images and scores."""
    import bench
    from bench.cli.output import say

    for path in bench.remove_runs(runs, results):
        say(f"removed {path}")
    return 0
