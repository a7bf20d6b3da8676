"""The path of a training through quality and diversity: the suite, run on each of its checkpoints.

Every evaluation is an ordinary run of the suite, in a results folder of its own beside the checkpoint, as the method
`<objective>[update=N]`: to reports and plots a sweep, whose points are joined.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bench.methods.catalogue import Method
from bench.pipeline.run import run
from bench.runtime.progress import Progress
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from bench.training.options import DEFAULT_REWARD, TrainOptions, parse_reward


def evaluator(
    options: TrainOptions, limit: int, progress: Progress | None = None, device: str | None = None
) -> Callable[[int, Path | None], None]:
    """What `bench.training.train` calls at its checkpoints; `limit` is the number of prompts.

    Before the first update the base model is run: the reference of the report. Raises BenchError as `bench.run`.
    """
    from bench.training.identity import default_out

    suite = load_suite(options.suite)
    reward = {} if options.objective == "base" else parse_reward(options.reward or DEFAULT_REWARD)
    out = options.out or default_out(options.objective, suite, reward, options.seed)
    results = out.with_name(f"{out.name}.eval")
    where = device or options.device
    run_suite = checkpoint_evaluator(
        options.suite, results, method=options.objective, limit=limit, device=where, progress=progress
    )

    def evaluate(done: int, checkpoint: Path | None) -> None:
        run_suite(done, checkpoint)

    return evaluate


def checkpoint_evaluator(
    suite: str,
    results: Path,
    *,
    method: str = "refl",
    limit: int | None = 16,
    device: str = "auto",
    progress: Progress | None = None,
) -> Callable[[int, Path | None], RunStore]:
    """What runs the suite on a checkpoint after so many updates (None: on the base model), as runs in `results`.

    `method` says how a checkpoint is sampled (`refl`, `draft`, `imagerefl`, or `base` for a base model's training),
    `limit` the number of prompts. A run that is there already is not made again. Raises BenchError as `bench.run`.
    """
    small = load_suite(suite).override(limit=limit)

    def evaluate(done: int, checkpoint: Path | None) -> RunStore:
        chosen = "base" if checkpoint is None else method_at(method, done, checkpoint, suite)
        [made] = run(small, [chosen], results=results, device=device, progress=progress)
        return made

    return evaluate


def method_at(objective: str, done: int, checkpoint: Path, suite: str) -> Method:
    """The method that samples with a checkpoint of a training after `done` updates.

    ReFL, DRaFT and ImageReFL are sampled as the suite samples them. A base model's training is sampled like `refl`,
    with the suite's guidance. What it was trained on is left to the checkpoint's own training.json.
    """
    loaded = load_suite(suite)
    row = "refl" if objective == "base" else objective
    method = resolve_method(row, loaded, {"weights": str(checkpoint)})
    if objective == "base":
        method = dataclasses.replace(method, tuned_guidance=float(loaded.guidance))
    settings = (("update", str(done)),)
    name = f"{objective}-training[update={done}]"
    return dataclasses.replace(method, name=name, row=row, settings=settings, trained_on=(), trained_on_data=())
