"""What a method costs: network evaluations, seconds and memory, as the manifests recorded them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.suite.served import SERVER

if TYPE_CHECKING:
    from bench.analysis.table.rows import Table
    from bench.store.runs import Run


@dataclass(frozen=True, slots=True)
class CostColumn:
    """One measure of cost; `values` has one number per method, None where it was not recorded. Lower is better."""

    name: str
    title: str
    unit: str
    digits: int
    explanation: str
    values: list[float | None]


_COLUMNS = (
    ("evaluations", "Network evaluations", "per image", 0, "of the denoising network when the method is run alone"),
    ("executed", "Evaluations executed", "per image", 0,
     "what was really computed for the method: steps that it shares with another one count where they ran"),
    ("seconds", "Generation time", "seconds per image", 3,
     "measured over the executed evaluations, so compare it only between methods that shared no steps"),
    ("memory", "Peak memory", "GiB", 2, "held by the process that generated, all methods of the call together"),
)  # fmt: skip


def cost_columns(table: Table) -> list[CostColumn]:
    """The measures that at least one method has."""
    found = []
    for name, title, unit, digits, explanation in _COLUMNS:
        values = [cost(row.run, name) for row in table.rows]
        if any(value is not None for value in values):
            found.append(CostColumn(name, title, unit, digits, explanation, values))
    return found


def cost(run: Run, name: str) -> float | None:
    """One measure of a run; None where the manifest does not say."""
    made = run.counts.get("images_generated")
    if name == "memory" and run.conditions.get("dtype") == SERVER:
        return None  # the images were made elsewhere: this process only waited for them
    if name == "memory":
        return _over(run.timings.get("peak_memory_bytes"), 2**30)
    if name == "seconds":
        return _over(run.timings.get("generate_seconds"), made)
    which = {"evaluations": "needed", "executed": "executed"}[name]
    return _over(run.counts.get(f"network_evaluations_{which}"), made)


def _over(total: Any, count: Any) -> float | None:
    if not isinstance(total, (int, float)) or not isinstance(count, (int, float)) or not total or not count:
        return None
    return float(f"{total / count:.6g}")
