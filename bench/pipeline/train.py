"""Training as a job: the options of `bench train`, and the suite run on each checkpoint. `bench.train` is `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.pipeline.trajectory import evaluator
from bench.registry.plugins import load_plugins
from bench.runtime.progress import Progress
from bench.training import train as run_training
from bench.training.options import TrainOptions
from bench.training.replicates import chosen_seeds, out_of


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
    seeds: str | Sequence[int] | None = None,
    init: str | Path | None = None,
    out: Path | str | None = None,
    resume: str = "missing",
    device: str = "auto",
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> Path | list[Path | None] | None:
    """Make a checkpoint and return its folder; None if that folder already contains this training. As `bench train`.

    `objective` is "base", "refl", "draft" or "imagerefl"; None means "as the objective's recipe for the suite says".
    `reward` is the image metric to climb ("pickscore", or a sum "hpsv2.1=1,pickscore=0.5"); `data` a folder, a table or
    a repository of images with captions, which `caption_column` has; `settings` are further fields of the recipe
    ({"start_step": 25}). Every `eval_every` updates the suite runs on the checkpoint, with its first `eval_limit`
    prompts. `seeds` ([0, 1, 2], "0,1,2" or "0-2") in place of `seed` trains once per seed, into `out`-seedS each, and
    returns a list with the folder or None of each, in order.

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
    if seeds is None:
        return _train_one(options, eval_limit, progress)
    several = [
        replace(options, seed=one, out=None if options.out is None else out_of(options.out, one))
        for one in chosen_seeds(seed, seeds)
    ]
    return [_train_one(one, eval_limit, progress) for one in several]


def _train_one(options: TrainOptions, eval_limit: int, progress: Progress | None) -> Path | None:
    evaluate = evaluator(options, limit=eval_limit, progress=progress) if options.eval_every else None
    return run_training(options.objective, options, evaluate, progress)
