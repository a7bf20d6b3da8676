"""Runs of invented scores, some of them checkpoints of one method with other seeds. Load with `runpy.run_path`."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.store.run_store import RunStore
from bench.store.runs import Run
from bench.store.trained import Checkpoint

HERE = Path(__file__).parent
fakes = runpy.run_path(str(HERE / "fakes.py"))
plain = runpy.run_path(str(HERE / "plain_runs.py"))["run"]


def checkpoints(of: str, values: Any, metric: str = "m", declared: int | None = None, **more: Any) -> list[Run]:
    """Runs of one method from values [checkpoints, prompts, samples]; the first has the method's own name."""
    names = tuple(f"{of}-{number}" for number in range(declared or len(values)))
    runs = []
    for number, array in enumerate(np.asarray(values, dtype=np.float64)):
        name = of if number == 0 else f"{of}[replicate={number}]"
        one = Checkpoint(of, f"{of}-{number}", f"digest {of} {number}", f"recipe {of}", names)
        run = plain(name, {metric: array}, more.get("jackknife"))
        runs.append(dataclasses.replace(run, name=f"{name}@0", checkpoint=one))
    return runs


def store(results: Path, method: str, number: int = 0, declared: int = 3, **how: Any) -> RunStore:
    """A run folder of `fakes.make` that is checkpoint `number` of its method."""
    name = method if number == 0 else f"{method}[replicate={number}]"
    means = dict(fakes["MEANS"][method])
    means["pickscore"] += 0.05 * number
    made: RunStore = fakes["make"](results, name, means=means, **how)
    manifest = made.manifest()
    weights = [f"{method}-{one}" for one in range(declared)]
    manifest.resolved_suite = {**(manifest.resolved_suite or {}), "methods": {method: {"replicates": weights}}}
    told: Mapping[str, Any] = {"replicate_of": method, "replicate": number} if number else {}
    manifest.resolved_method = {"name": name, "row": method, "weights": weights[number], **told}
    manifest.identity = {"seed": 42, "sampler": {"steps": 40}, "schedule": method, "tuned": f"{method} {number}"}
    made.write_manifest(manifest)
    return made
