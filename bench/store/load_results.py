"""All stored values as one tidy table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.store.run_store import RunStore, find_runs

if TYPE_CHECKING:
    import pandas as pd

# Column -> pandas type. `sample` is empty for group and set metrics, `prompt_id` too for set metrics.
COLUMNS = {
    "suite": "str",
    "method": "str",
    "run": "str",
    "metric": "str",
    "kind": "str",
    "prompt_id": "str",
    "sample": "Int64",
    "value": "float64",
    "reason": "str",
}


def load_results(path: str | Path) -> pd.DataFrame:
    """Tidy rows of every run under a results folder, a suite's folder in it, or one run's folder.

    Columns: suite, method, run, metric, kind ("image", "group" or "set"), prompt_id, sample, value, reason. A value
    that could not be computed is NaN and `reason` says why. Rows are ordered by run, metric, prompt and sample.
    Runs that are not complete are included. Raises UsageError when there is no run, or one of a newer version.
    """
    import pandas as pd

    stores = find_runs(path)
    if not stores:
        raise UsageError(f"no runs in {path}: give a results folder, or make one with `bench run --method base`")
    rows = [row for store in stores for row in _rows(store)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _rows(store: RunStore) -> list[tuple[Any, ...]]:
    manifest = store.manifest()
    order = {entry["id"]: position for position, entry in enumerate(manifest.prompts)}
    rows: list[tuple[Any, ...]] = []
    for metric in store.score_metrics():
        card = store.score_card(metric) or manifest.cards.get(metric) or {}
        scores = store.scores(metric)
        kind = str(card.get("kind") or _kind(any(row.sample is not None for row in scores), scores[0].prompt_id))
        scores.sort(key=lambda row: (order.get(row.prompt_id or "", len(order)), row.sample or 0))
        for row in scores:
            value = math.nan if row.value is None else row.value
            head = (manifest.suite, manifest.method, manifest.run, metric, kind)
            rows.append((*head, row.prompt_id, row.sample, value, row.reason))
    return rows


def _kind(has_samples: bool, prompt_id: str | None) -> str:
    """The kind that the rows themselves show, for scores without a card."""
    return "image" if has_samples else "set" if prompt_id is None else "group"
