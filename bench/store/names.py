"""Names that users give to runs: one name means one run of a results folder."""

from __future__ import annotations

import logging
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.formatting import is_safe_name, one_line
from bench.store.run_store import RunStore, find_runs

logger = logging.getLogger(__name__)


def check_given(name: str, runs: int = 1) -> None:
    """UsageError for a name that cannot be given, or that several runs of one call would get."""
    if not is_safe_name(name):
        raise UsageError(f"--name {name!r} cannot be a name: use 1 to 100 of A-Z a-z 0-9 . _ -, without '..'")
    if runs > 1:
        raise UsageError(f"--name {name} names one run, but this call makes {runs}: run the methods one by one")


def give_name(store: RunStore, name: str, results: Path) -> None:
    """Give a run its name; the run of the results folder that had it loses it, and that is said.

    The caller holds the run. Runs that other processes hold are waited for.
    """
    for other in find_runs(results):
        if other.path.absolute() == store.path.absolute():
            continue
        try:
            theirs = other.manifest()
        except BenchError:  # of a newer version, or damaged: told where it is opened
            continue
        if theirs.name == name:
            with other.lock(clean=False):
                theirs = other.manifest()
                theirs.name = ""
                other.write_manifest(theirs)
            moved = other.path.parent.name != store.path.parent.name  # to another suite, where the id may be the same
            ids = [f"{run.name} of suite {run.path.parent.name}" if moved else run.name for run in (other, store)]
            logger.warning(one_line(f"the name '{name}' moves from {ids[0]} to {ids[1]}"))
    manifest = store.manifest()
    if manifest.name != name:
        manifest.name = name
        store.write_manifest(manifest)
