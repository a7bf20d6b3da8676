"""What `bench train` asks for, as plain data: the command line fills it, `bench.training.train` reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UsageError, unknown

OBJECTIVES: dict[str, str] = {
    "base": "the plain denoising objective: makes a base model",
    "refl": "ReFL: gradient of a reward through one late denoising step (arXiv 2304.05977)",
    "draft": "DRaFT-K: gradient of a reward through the last K steps (arXiv 2309.17400)",
    "imagerefl": "ImageReFL: like ReFL, but starting from noised real images, with a denoising term",
}
DEFAULT_REWARD = "pickscore"
NEED_PICTURES = ("base", "imagerefl")
"""Objectives that start from real pictures."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training. None means "what this objective's recipe says".

    `suite` names the model and the prompts (a name or a TOML file), `reward` the metric to climb ("pickscore", or a
    weighted sum "hpsv2.1=1,pickscore=0.5"), `init` the weights to start from (a weights string as in a suite), `data`
    the images with captions (a folder, or what the `datasets` library reads), `caption_column` the column of their
    captions, `out` the folder of the checkpoint. `steps` counts optimiser updates; `preset` is "official",
    "official-norms", "corrected" or "shapes"; `settings` are further fields of the recipe as text ("start_step": "25").
    Every `eval_every` updates the suite's probe is run.
    """

    objective: str
    suite: str = "shapes"
    reward: str | None = None
    steps: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    seed: int = 0
    out: Path | None = None
    init: str | None = None
    resume: str = "missing"
    device: str = "auto"
    preset: str | None = None
    data: str | None = None
    lora_rank: int | None = None
    eval_every: int | None = None
    caption_column: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown objective."""
        if self.objective not in OBJECTIVES:
            raise unknown("objective", self.objective, OBJECTIVES)


def parse_reward(text: str) -> dict[str, float]:
    """ "pickscore" -> {"pickscore": 1.0}; "hpsv2.1=1,pickscore=0.5" -> both. UsageError: see there."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        try:
            value = float(weight) if equals else 1.0
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value) or value == 0.0:
            raise UsageError(
                f"--reward {text}: '{part.strip()}' is not a metric with a weight; write hpsv2.1=1,pickscore=0.5"
            )
        if name in found:
            raise UsageError(f"--reward {text} names {name} twice: give it one weight")
        found[name] = value
    return found


def reward_name(weights: dict[str, float]) -> str:
    """The reward as part of a folder's name: "pickscore", or "hpsv2.1-1+pickscore-0.5"."""
    if len(weights) == 1 and next(iter(weights.values())) == 1.0:
        return next(iter(weights))
    return "+".join(f"{name}-{weight:g}" for name, weight in weights.items())
