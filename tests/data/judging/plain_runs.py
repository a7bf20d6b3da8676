"""Runs of given values without a folder, for tests of the report. Load with `runpy.run_path`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.store.runs import MetricFacts, Run, tidy_types


def run(method: str, values: Mapping[str, Any], jackknife: Mapping[str, Sequence[float]] | None = None) -> Run:
    """A run of image metrics from arrays [prompts, samples], and of set metrics from their left-out values [B]."""
    arrays = {name: np.asarray(one, dtype=np.float64) for name, one in values.items()}
    prompts, samples = next(iter(arrays.values())).shape
    rows: list[dict[str, Any]] = [
        {"metric": name, "kind": "image", "prompt_id": f"p{p}", "sample": s, "value": float(array[p, s]), "reason": ""}
        for name, array in arrays.items()
        for p in range(prompts)
        for s in range(samples)
    ]
    facts = {name: MetricFacts(name, name, "image", "higher", digest=name) for name in arrays}
    for name, blocks in (jackknife or {}).items():
        facts[name] = MetricFacts(name, name, "set", "lower", digest=name)
        whole = {"metric": name, "kind": "set", "prompt_id": None, "reason": ""}
        rows.append({**whole, "sample": None, "value": float(np.mean(blocks))})
    frame = pd.DataFrame(rows).assign(suite="shapes", run=f"{method}@0")
    return Run(
        suite="shapes",
        method=method,
        name=f"{method}@0",
        path=Path(method),
        prompts=tuple((f"p{p}", f"a red circle, number {p}") for p in range(prompts)),
        samples=samples,
        n_images=prompts * samples,
        trained_on=(),
        metrics=facts,
        scores=tidy_types(frame),
        title="Shapes",
        left_out={name: tuple(blocks) for name, blocks in (jackknife or {}).items()},
    )
