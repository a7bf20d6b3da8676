"""The runs that a table, a verdict or a comparison is made of: opened, and outdated ones left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.formatting import one_line
from bench.models.old_runs import doubts
from bench.runtime.log import ONCE, get_logger
from bench.store.runs import Run
from bench.store.select import LeftOut, RunSources
from bench.store.select import open_runs as opened_runs

logger = get_logger(__name__)


def open_runs(
    source: RunSources,
    results: Path | str = Path("results"),
    suite: str | None = None,
    *,
    unfinished_too: bool = False,
) -> tuple[list[Run], list[LeftOut], bool]:
    """As `bench.store.select.open_runs`; runs whose weights an older version read otherwise are outdated as well.

    Runs of which that is not known, because their weights are not here, are in the log.
    """
    runs, left_out, named = opened_runs(source, results, suite, doubts, unfinished_too=unfinished_too)
    for run in runs:
        if run.doubt:
            logger.warning(one_line(f"{run.name}: {run.doubt}"), extra=ONCE)
    return runs, left_out, named


def tell_outdated(left_out: Sequence[LeftOut]) -> None:
    """Say in the log which runs were left out because they are outdated."""
    for omitted in left_out:
        if omitted.finished:
            logger.warning(one_line(f"excluded: {omitted.run} ({omitted.why})"), extra=ONCE)
