"""What is said of runs whose images a server made, wherever they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.formatting import counted
from bench.store.refusals import PROVENANCE
from bench.store.runs import Run


def served_notes(runs: Mapping[str, Run]) -> list[str]:
    """Sentences about the runs, by the name that is printed for each; [] where no server made any."""
    facts = {name: _facts(run) for name, run in runs.items()}
    served = {name: found for name, found in facts.items() if found}
    if not served:
        return []
    whose = ", ".join(served)
    notes = [f"{whose}: made by an endpoint, whose scheduler and precision are its own and are not verified here"]
    for where, names in _by_seed_only(served).items():
        notes.append(
            f"{', '.join(names)}: pairing is by seed only: for the same request the server does not draw the same "
            f"picture again {where}"
        )
    changed = [name for name, found in served.items() if found.get("numerics_changed")]
    if changed:
        notes.append(f"{', '.join(changed)}: the server drew other pictures for the same request later on (two makers)")
    for name in served:
        store = runs[name].store
        refused = store.refusals() if store is not None else {}
        if refused:
            total = len(runs[name].prompts) * runs[name].samples
            notes.append(
                f"{name}: {counted(len(refused), 'image')} of {total} not made by the server "
                f"({next(iter(refused.values()))}): unscored, and set metrics are over the others"
            )
    return notes


def _facts(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.store.manifest().provenance.get(PROVENANCE) or {} if run.store is not None else {}
    return found


def _by_seed_only(served: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Where a server draws otherwise -> the names of its runs. What is alone on the server is not beside others."""
    found: dict[str, list[str]] = {}
    for name, facts in served.items():
        told = facts.get("deterministic") or {}
        if not told.get("alone"):
            found.setdefault("(alone)", []).append(name)
        elif not told.get("in_batch") and int(facts.get("concurrency") or 1) > 1:
            found.setdefault("beside other requests", []).append(name)
    return found
