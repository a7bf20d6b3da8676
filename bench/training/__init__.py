"""Makes checkpoints: plain denoising, ReFL, DRaFT and ImageReFL on one loop. See `bench train --help`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.runtime.progress import Progress
    from bench.training.options import TrainOptions


def train(
    objective: str,
    options: TrainOptions,
    evaluate: Callable[[int, Path | None], None] | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Train `objective` and return the checkpoint's folder; None if it was there already. Raises BenchError.

    `evaluate(updates, folder)` is called at the start and every `options.eval_every` updates with the checkpoint so far
    (`bench.pipeline.trajectory.evaluator` makes one that runs the suite).
    """
    from bench.training.loop import train as run

    return run(objective, options, evaluate, progress)
