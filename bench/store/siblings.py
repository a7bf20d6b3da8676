"""The runs beside one that are of the same method with other training seeds."""

from __future__ import annotations

from bench.store.outdated import why_outdated
from bench.store.run_store import find_runs
from bench.store.runs import Run, read_run
from bench.store.trained import checkpoint_of


def other_checkpoints(run: Run) -> list[Run]:
    """The finished runs beside this one that are of the same method with other training seeds (`replicates`)."""
    if run.checkpoint is None or not run.checkpoint.replicates or run.store is None:
        return []
    found = []
    for store in find_runs(run.store.path.parent):
        its = checkpoint_of(store.manifest()) if store.name != run.name else None
        if its is None or (its.of, its.recipe) != (run.checkpoint.of, run.checkpoint.recipe):
            continue
        if store.manifest().status == "complete" and why_outdated(store) is None:
            found.append(read_run(store))
    return found
