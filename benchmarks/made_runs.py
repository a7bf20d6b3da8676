"""Summaries and runs of invented values, as the gate and the planner see them, without files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.bounded import Bounds
from bench.analysis.estimand import Units
from bench.gate.summaries import Summary, read_summary
from bench.gate.thresholds import Thresholds, parse_thresholds
from bench.store.runs import MetricFacts, Run, tidy_types

UNIT = Bounds(0.0, 1.0)


def units(values: np.ndarray, bounds: Bounds | None = None, noise: str = "") -> Units:
    """Of values [P, K], NaN for those unscored; equal `noise` of two runs makes their images pairs."""
    prompts = tuple(f"p{index:04d}" for index in range(len(values)))
    return Units(prompts, values, np.arange(len(values)), bounds, (noise,) if noise else None)


def data(
    method: str, metrics: Mapping[str, np.ndarray], seed: int, bounds: Mapping[str, Bounds] | None = None
) -> dict[str, Any]:
    """A summary of a baseline file: metric -> values [P, K] of images."""
    found: dict[str, Any] = {}
    for name, values in metrics.items():
        known = (bounds or {}).get(name)
        interval = units(values, known).mean().interval()
        rows = {f"p{i:04d}": [None if math.isnan(v) else float(v) for v in row] for i, row in enumerate(values)}
        found[name] = {
            "mean": interval.mean,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n": int(np.isfinite(values).sum()),
            "n_unscored": int(np.isnan(values).sum()),
            "direction": "higher",
            "kind": "image",
            "values": rows,
            **({"low": known.low, "high": known.high} if known else {}),
        }
    shape = next(iter(metrics.values())).shape
    conditions = {"seed": seed, "sampler": {"steps": 40}}
    return {
        "suite": "made",
        "method": method,
        "run": f"{method}@{seed}",
        "prompts": shape[0],
        "samples": shape[1],
        "conditions": conditions,
        "metrics": found,
    }


def summaries(*made: dict[str, Any]) -> list[Summary]:
    """As the gate reads them."""
    return [read_summary(one) for one in made]


def rules(text: str, methods: Sequence[str], metrics: Sequence[str]) -> Thresholds:
    """A thresholds file's rules from its text."""
    return parse_thresholds(text, "made.toml", list(methods), list(metrics))


def run(method: str, metrics: Mapping[str, np.ndarray], seed: int = 1, kind: str = "image") -> Run:
    """A run of values [P, K], or [P, 1] of a group metric."""
    frames = []
    for name, values in metrics.items():
        prompts, width = values.shape
        sample = [None] * values.size if kind == "group" else list(range(width)) * prompts
        ids = np.repeat([f"p{index:04d}" for index in range(prompts)], width)
        rows = {"metric": name, "prompt_id": ids, "sample": sample, "value": values.ravel(), "reason": None}
        frames.append(pd.DataFrame(rows).astype({"sample": "Int64"}))
    prompts, width = next(iter(metrics.values())).shape
    return Run(
        suite="made",
        method=method,
        name=f"{method}@{seed:08x}",
        path=Path(f"{method}@{seed:08x}"),
        prompts=tuple((f"p{index:04d}", f"prompt {index}") for index in range(prompts)),
        samples=width if kind == "image" else 5,
        n_images=prompts * width,
        trained_on=(),
        metrics={name: MetricFacts(name, name, kind, "higher", digest=name) for name in metrics},
        scores=tidy_types(pd.concat(frames, ignore_index=True)),
        conditions={"seed": seed, "sampler": {"steps": 40}},
    )
