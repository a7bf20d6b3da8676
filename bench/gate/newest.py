"""Which runs of a folder the gate judges: the newest of each method, finished or not, never an older one instead."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bench.formatting import one_line
from bench.store.runs import Run
from bench.store.select import LeftOut, made_at

logger = logging.getLogger(__name__)


def newest_of(runs: Sequence[Run], unfinished: Sequence[LeftOut]) -> tuple[list[Run], list[LeftOut]]:
    """The newest run of each suite and method, by the time in its manifest, among finished and unfinished ones.

    Runs that are passed over are named in the log.
    """
    newest: dict[tuple[str, str], Run | LeftOut] = {}
    times: dict[tuple[str, str], tuple[str, int]] = {}
    everything: list[Run | LeftOut] = [*runs, *unfinished]
    for run in everything:
        made = made_at(run.store) if isinstance(run, Run) else run.made
        key = run.suite, run.method
        if key not in newest or made >= times[key]:
            newest[key], times[key] = run, made
    for run in everything:
        judged = newest[run.suite, run.method]
        if run is not judged:
            logger.info(one_line(f"{_name(run)} is not judged: {_name(judged)} is newer"))
    kept = [run for run in runs if newest[run.suite, run.method] is run]
    return kept, [run for run in unfinished if newest[run.suite, run.method] is run]


def _name(run: Run | LeftOut) -> str:
    return run.name if isinstance(run, Run) else run.run
