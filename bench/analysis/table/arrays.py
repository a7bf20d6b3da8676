"""All values of a table as arrays: methods x prompts x samples, in the order of the table and of the prompt list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.analysis.table.rows import Table
    from bench.store.runs import MetricFacts

Array = NDArray[np.float32]


def prompts_of(table: Table) -> list[tuple[str, str]]:
    """(id, text) of the prompts, in the order of the first run; comparable runs have the same."""
    return list(table.rows[0].run.prompts)


def metric_values(table: Table, facts: MetricFacts) -> Array:
    """float32 [methods, prompts, samples]; group metrics have one sample. NaN: not scored, or not there."""
    codes = {prompt_id: code for code, (prompt_id, _) in enumerate(prompts_of(table))}
    samples = table.rows[0].run.samples if facts.kind == "image" else 1
    values = np.full((len(table.rows), len(codes), samples), np.nan, dtype=np.float32)
    for i, row in enumerate(table.rows):
        rows = row.run.rows(facts.name)
        prompt_index = rows["prompt_id"].map(codes).fillna(-1).to_numpy(dtype=np.int64)
        sample = (
            rows["sample"].fillna(0).to_numpy(dtype=np.int64) if facts.kind == "image" else np.zeros_like(prompt_index)
        )
        kept = (prompt_index >= 0) & (sample >= 0) & (sample < samples)
        values[i, prompt_index[kept], sample[kept]] = rows["value"].to_numpy(dtype=np.float32)[kept]
    return values


def prompt_averages(values: Array) -> Array:
    """Mean of the finite values per method and prompt, float32 [methods, prompts]; NaN without any."""
    finite = np.isfinite(values)
    count = finite.sum(axis=2)
    total = np.where(finite, values, 0).sum(axis=2, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def most_changed(table: Table, values: dict[str, Array]) -> NDArray[np.int64]:
    """Prompts [P] from the largest paired difference down, over all metrics and methods, in the metrics' spreads.

    Differences are against the reference, or against the first method where there is none. Ties keep their order.
    """
    reference = next((i for i, row in enumerate(table.rows) if row.name == table.reference), 0)
    largest = np.zeros(len(prompts_of(table)))
    for array in values.values():
        means = prompt_averages(array).astype(np.float64)
        spread = float(np.nanstd(means)) if np.isfinite(means).any() else 0.0
        if spread > 0:
            differences = np.abs(means - means[reference]) / spread
            largest = np.maximum(largest, np.nan_to_num(differences).max(axis=0))
    return np.argsort(-largest, kind="stable")
