"""Which training a folder holds: how a checkpoint was made, whether it is there already, where it goes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.suite import Suite
from bench.training import checkpoint
from bench.training.options import NEED_PICTURES, TrainOptions, reward_name
from bench.training.recipes import TrainRecipe


def default_out(objective: str, suite: Suite, reward: dict[str, float], seed: int) -> Path:
    """Where a checkpoint goes if nothing else is said."""
    name = f"{objective}-{reward_name(reward)}" if reward else objective
    return Path("results") / "checkpoints" / suite.name / f"{name}-seed{seed}"


def facts_of(
    objective: str, suite: Suite, reward: dict[str, float], recipe: TrainRecipe, options: TrainOptions
) -> dict[str, Any]:
    """training.json: how a checkpoint was made. Nothing in it changes by itself.

    Reports mark the metrics of `trained_on`, and warn where FID compares with the image sets of `trained_on_data`.
    """
    saw_images = options.data is not None and objective in NEED_PICTURES
    facts = {
        "schema_version": 1,
        "objective": objective,
        "suite": suite.name,
        "reward": reward or None,
        "trained_on": sorted(reward),
        "trained_on_data": [Path(str(options.data)).name] if saw_images else [],
        "init": options.init,
        "data": options.data,
        "seed": options.seed,
        "preset": options.preset,
        "recipe": asdict(recipe),
    }
    return {key: _as_json(value) for key, value in facts.items()}


def still_to_do(out: Path, facts: dict[str, Any]) -> bool:
    """False if `out` is this training, finished. Raises UsageError if something else is there."""
    checkpoint.recover(out)
    if checkpoint.read_facts(out) == facts:
        return False
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something else: choose another --out, or --resume never to replace it.")
    return True


def _as_json(value: Any) -> Any:
    """Tuples as the lists that they are when read back from JSON."""
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value
