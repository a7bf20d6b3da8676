"""A suite of three prompts on a tiny pipeline with fake metrics, and what its runs hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.store.run_store import RunStore, find_runs
from bench.suite.schema import Suite
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

TEXTS = {"p1": "a red circle", "p2": "a large star", "p3": "a square on the left"}


def write_weights(folder: Path) -> Path:
    """`folder` with a tiny pipeline and a tuned network."""
    tiny_pipeline(folder / "pipeline")
    tiny_unet(5).save_pretrained(folder / "tuned")
    return folder


def write_prompts(path: Path, texts: dict[str, str]) -> str:
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()))
    return str(path)


def small_suite(weights: Path, folder: Path, *, refl: bool = False) -> Suite:
    """Two samples of each prompt by base and combined; with `refl`, by refl too."""
    tuned = {"weights": str(weights / "tuned")}
    methods = {"combined": {**tuned, "switch_step": 3}}
    return Suite.model_validate(
        {
            "name": "tiny",
            "label": "tiny",
            "model": {"weights": str(weights / "pipeline")},
            "prompts": write_prompts(folder / "prompts.jsonl", TEXTS),
            "samples": 2,
            "resolution": 32,
            "guidance": 2.0,
            "sampler": {"steps": 4},
            "methods": {"refl": tuned, **methods} if refl else methods,
            "metrics": {"fake_image": {}, "fake_group": {}, "fake_set": {}},
            "reference": {"kind": "shapes", "count": 4, "seed": 1},
        }
    )


def images_of(store: RunStore) -> dict[tuple[str, int], str]:
    return {row.key: row.sha256 for row in store.images()}


def values_of(store: RunStore) -> dict[tuple[Any, ...], float]:
    names = store.score_metrics()
    return {(name, *row.key): row.value for name in names for row in store.scores(name) if row.reason is None}


def found(results: Path) -> dict[str, Any]:
    """Pictures, values and status of each run in a results folder."""
    stores = find_runs(results)
    return {store.name: (images_of(store), values_of(store), store.manifest().status) for store in stores}
