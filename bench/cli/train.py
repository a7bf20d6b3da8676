"""`bench train`: make a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, Resume, SuiteOption
from bench.training.options import OBJECTIVES, TrainOptions


def train(
    objective: Annotated[str, typer.Argument(metavar="{base|refl|draft|imagerefl}", help="What is optimised.")],
    suite: SuiteOption = "shapes",
    reward: Annotated[str | None, typer.Option(metavar="METRIC", help="The image metric to climb.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser updates.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="LR", help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", min=1, help="Images per update.")] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of noise, data order and steps.")] = 0,
    init: Annotated[
        str | None, typer.Option(metavar="WEIGHTS", help="Start from these weights. [default: the suite's model]")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the checkpoint.")] = None,
    resume: Annotated[Resume, typer.Option(help="Continue a training, or (never) start anew.")] = Resume.MISSING,
    device: DeviceOption = "auto",
) -> int:
    """Make a checkpoint. What is not given is taken from the objective's recipe for the suite."""
    from bench.errors import UsageError, unknown

    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise UsageError(f"--learning-rate {learning_rate} must be above 0 and finite.")
    from bench.training import train as run_training

    options = TrainOptions(
        objective=objective,
        suite=suite,
        reward=reward,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=out,
        init=init,
        resume=resume.value,
        device=device,
    )
    written = run_training(objective, options)
    if written is not None:
        typer.echo(f"checkpoint: {written}")
    return 0
