"""How the methods of several runs are called where they stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.store.runs import Run


def shown_methods(runs: Sequence[Run]) -> list[str]:
    """The method of each run, with the settings by which runs of one method are told apart in this table.

    A point of a sweep that lies at the method's own setting has it written out, as the others have; where several
    checkpoints were given with --set weights=, each is named.
    """
    made = [_method_of(run) for run in runs]
    rows = [str(one.get("row") or run.method.partition("[")[0]) for one, run in zip(made, runs, strict=True)]
    found = []
    for run, one, row in zip(runs, made, rows, strict=True):
        family = [other for other, its in zip(made, rows, strict=True) if its == row]
        swept = {key for other in family for key in dict(other.get("settings") or {})} - {"weights"}
        mine = {key: value for key, value in dict(one.get("settings") or {}).items() if key != "weights"}
        schedule = dict(one.get("schedule") or {})
        for key in swept - mine.keys():
            value = schedule.get(key, one.get(key))
            if value is not None:
                mine[key] = f"{value:g}" if isinstance(value, int | float) else str(value)
        if len({other.get("weights") for other in family if "weights" in dict(other.get("settings") or {})}) > 1:
            name = str(one.get("name") or "")
            mine |= {"weights": weights} if (weights := _weights_in(name)) else {}
        written = ",".join(f"{key}={value}" for key, value in mine.items())
        changed = bool(swept) or "weights" in mine
        head = run.method.partition("[")[0]
        found.append(f"{head}[{written}]" if changed and written and one else run.method)
    return found


def _method_of(run: Run) -> dict[str, Any]:
    return dict(run.store.manifest().resolved_method or {}) if run.store is not None else {}


def _weights_in(name: str) -> str:
    """ "a.safetensors-1a2b3c4d" of "refl[power=2,weights=a.safetensors-1a2b3c4d]"."""
    parts = name.partition("[")[2].rstrip("]").split(",")
    return next((part.partition("=")[2] for part in parts if part.startswith("weights=")), "")
