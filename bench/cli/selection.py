"""Turns the RUN arguments of a command into run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError, unknown


def select(names: Sequence[str], results: Path) -> list[Path]:
    """Folders of the named runs: a path wins; else a run's full name, else a method of which there is one run.

    UsageError when a name fits none (with a suggestion) or several (they are listed).
    """
    from bench.store import find_runs

    stores = None
    chosen: list[Path] = []
    for name in names:
        if Path(name).is_dir():
            chosen.append(Path(name))
            continue
        stores = find_runs(results) if stores is None else stores
        fitting = [store for store in stores if store.name == name]
        fitting = fitting or [store for store in stores if store.name.partition("@")[0] == name]
        if not stores:
            raise UsageError(f"unknown run '{name}': there are no runs in {results}, make some with `bench run`.")
        if not fitting:
            known = {store.name for store in stores} | {store.name.partition("@")[0] for store in stores}
            raise unknown("run", name, known)
        if len(fitting) > 1:
            paths = ", ".join(str(store.path) for store in fitting)
            raise UsageError(f"run '{name}' is not the only one of its name: give one of {paths}.")
        chosen.append(fitting[0].path)
    return chosen
