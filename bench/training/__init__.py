"""Makes checkpoints: plain denoising, ReFL, DRaFT and ImageReFL on one loop. See `bench train --help`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.training.options import TrainOptions


def train(objective: str, options: TrainOptions) -> Path | None:
    """Train `objective` and return the checkpoint's folder; None if it was there already. Raises BenchError."""
    from bench.training.loop import train as run

    return run(objective, options)
