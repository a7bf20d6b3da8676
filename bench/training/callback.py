"""Evaluation inside other people's trainings: a callback for trainers of transformers and TRL, and for plain loops.

from bench.pipeline.trajectory import checkpoint_evaluator
from bench.training.callback import EvaluationCallback

callback = EvaluationCallback(checkpoint_evaluator("sd15.toml", Path("results/path"), limit=16))
trainer = SomeTrainer(..., callbacks=[callback])            # transformers' callbacks: after each save
if accelerator.is_main_process: callback(step, folder)      # a loop of one's own, after the checkpoint is written
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers.trainer_callback import TrainerCallback

from bench.errors import BenchError

logger = logging.getLogger(__name__)


class EvaluationCallback(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """Hands each checkpoint to `evaluate(step, folder)`; `bench.pipeline.trajectory.checkpoint_evaluator` makes one.

    `every`: only checkpoints whose step is a multiple of it. `inside` is the part of a checkpoint that holds the
    network, where that is not the checkpoint itself ("unet_ema", "lora"). The base model is evaluated at the beginning,
    as the reference. An evaluation that fails is said and does not end the training; `failed` has its steps.
    """

    def __init__(self, evaluate: Callable[[int, Path | None], object], every: int = 1, inside: str = "") -> None:
        self._evaluate = evaluate
        self._every = every
        self._inside = inside
        self.judged: list[int] = []
        self.failed: list[int] = []

    def __call__(self, step: int, folder: Path | str | None) -> None:
        """Evaluate the checkpoint in `folder` after `step` updates (None: the base model). On one process alone."""
        if step % self._every or step in self.judged:
            return
        try:
            self._evaluate(step, None if folder is None else Path(folder) / self._inside)
            self.judged.append(step)
        except BenchError as error:
            self.failed.append(step)
            logger.warning(f"the checkpoint after {step} updates cannot be evaluated; training continues: {error}")

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The base model, before the first update."""
        if state.is_world_process_zero:
            self(0, None)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The checkpoint that the trainer has written, `<output_dir>/checkpoint-<step>`."""
        if state.is_world_process_zero:
            self(int(state.global_step), Path(args.output_dir) / f"checkpoint-{state.global_step}")
