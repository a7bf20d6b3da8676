"""Removing runs. `bench.remove_runs` is `remove_runs` of this module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.store.on_object_stores import on_object_stores
from bench.store.run_store import RunStore, find_runs
from bench.store.select import matching, select


@on_object_stores(writes=True)
def remove_runs(runs: Sequence[str | Path], results: Path | str = Path("results")) -> list[Path]:
    """Remove runs with their images and scores; returns the folders that are gone. Does what `bench rm` does.

    `runs` are run folders, ids ("refl@1a2b3c4d") or given names, or a method of which there is one run. UsageError,
    before anything is removed: a name that fits several runs or none, or a folder that is no run.

    >>> import bench
    >>> [path.name == BASE for path in bench.remove_runs(["base"], RESULTS)]
    [True]
    """
    chosen = {path.absolute(): RunStore(path) for path in (_one(str(run), Path(results)) for run in runs)}
    for store in chosen.values():
        store.remove()
    return list(chosen)


def _one(run: str, results: Path) -> Path:
    fitting = matching(run, find_runs(results)) if Path(run).name == run else []
    if len(fitting) > 1:
        ids = ", ".join(store.name for store in fitting)
        raise UsageError(f"'{run}' fits {len(fitting)} runs ({ids}): name those to remove by their ids")
    path = fitting[0].path if fitting else select([run], results)[0]
    if not RunStore(path).exists():
        raise UsageError(f"{path} is not a run: name runs by their ids, as `bench list runs` shows them")
    return path
