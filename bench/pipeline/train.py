"""Training as a job: the options of `bench train`, and the suite run on each checkpoint. `bench.train` is `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.pipeline.trajectory import evaluator
from bench.registry.plugins import load_plugins
from bench.runtime.progress import Progress
from bench.training import train as run_training
from bench.training.options import TrainOptions


def train(
    objective: str,
    *,
    suite: str | Path = "shapes",
    reward: str | None = None,
    data: str | Path | None = None,
    caption_column: str | None = None,
    preset: str | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    lora_rank: int | None = None,
    settings: Mapping[str, str | int | float] | None = None,
    eval_every: int | None = None,
    eval_limit: int = 16,
    seed: int = 0,
    init: str | Path | None = None,
    out: Path | str | None = None,
    resume: str = "missing",
    device: str = "auto",
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> Path | None:
    """Make a checkpoint and return its folder; None if that folder already contains this training. As `bench train`.

    `objective` is "base", "refl", "draft" or "imagerefl"; None means "as the objective's recipe for the suite says".
    `reward` is the image metric to climb ("pickscore", or a sum "hpsv2.1=1,pickscore=0.5"); `data` a folder, a table or
    a repository of images with captions, which `caption_column` has; `settings` are further fields of the recipe
    ({"start_step": 25}). Every `eval_every` updates the suite runs on the checkpoint, with its first `eval_limit`
    prompts. Several seeds (`--seeds` of the command) are several calls.

    Raises BenchError, one sentence each; the last checkpoint stays, and the same call continues after it.

    >>> import bench
    >>> small = {"grad_steps": 1, "save_every": 1}
    >>> bench.train("refl", steps=1, batch_size=1, lora_rank=1, settings=small, out=OUT).name == OUT.name
    True
    """
    load_plugins(plugins)
    options = TrainOptions(
        objective=objective,
        suite=str(suite),
        reward=reward,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=None if out is None else Path(out),
        init=None if init is None else str(init),
        resume=resume,
        device=device,
        preset=preset,
        data=None if data is None else str(data),
        lora_rank=lora_rank,
        eval_every=eval_every,
        caption_column=caption_column,
        settings={key: str(value) for key, value in (settings or {}).items()},
    )
    evaluate = evaluator(options, limit=eval_limit, progress=progress) if eval_every else None
    return run_training(objective, options, evaluate, progress)
