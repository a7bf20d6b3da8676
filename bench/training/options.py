"""What `bench train` asks for, as plain data: the command line fills it, `bench.training.train` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OBJECTIVES: dict[str, str] = {
    "base": "the plain denoising objective: makes a base model",
    "refl": "ReFL: gradient of a reward through one late denoising step (arXiv 2304.05977)",
    "draft": "DRaFT-K: gradient of a reward through the last K steps (arXiv 2309.17400)",
    "imagerefl": "ImageReFL: like ReFL, but starting from noised real images, with a denoising term",
}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training. None means "what this objective's recipe says".

    `suite` names the model and the prompts (a name or a TOML file), `reward` the metric to climb, `init` the weights to
    start from (a weights string as in a suite), `out` the folder of the checkpoint. `steps` counts optimiser updates.
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
