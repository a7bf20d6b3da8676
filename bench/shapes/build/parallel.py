"""One training process per core, one thread each, gradients averaged: the safe way to train on a small machine.

Threads of one process wait for each other at every operator, so a busy neighbour slows two threads far below one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

LossFn = Callable[[int], Tensor]
"""Maps the step number to a loss with gradient."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One of `count` training processes; `rank` 0 writes and prints."""

    rank: int
    count: int

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def seed(self, base: int) -> int:
        """A seed of this process's own."""
        return base * 1000 + self.rank

    def share(self, batch: int) -> int:
        """This process's part of a global batch."""
        return batch // self.count


def compiled(model: nn.Module) -> nn.Module:
    """The model behind torch.compile where a C++ compiler is installed, else itself: the same sums, sooner."""
    found = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))
    return cast(nn.Module, torch.compile(model)) if found else model


def launch(job: Callable[[Worker, Path], None], out: Path, processes: int) -> None:
    """Run `job` in this many processes that can average gradients; `out` is where the job writes."""
    if processes == 1:
        torch.set_num_threads(1)
        job(Worker(0, 1), out)
        return
    with TemporaryDirectory() as folder:
        spawn(_enter, (job, out, processes, f"file://{folder}/store"), nprocs=processes)


def _enter(rank: int, job: Callable[[Worker, Path], None], out: Path, count: int, store: str) -> None:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    try:
        job(Worker(rank, count), out)
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained: AdamW, a short linear warm-up, then a cosine to nothing."""

    steps: int
    learning_rate: float
    weight_decay: float = 1e-4
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.0


def fit(
    model: nn.Module, loss_of: LossFn, recipe: Recipe, worker: Worker, name: str, average: list[Tensor] | None = None
) -> Iterator[int]:
    """Train in place; yields after every step. With `recipe.ema` > 0 the averaged weights are left in the model.

    A list handed in as `average` shows the averaged weights of the trainable parameters while the training runs.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    synchronise(parameters, worker)
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=recipe.steps,
        pct_start=min(0.3, recipe.warmup / recipe.steps),
        cycle_momentum=False,
        final_div_factor=1e3,
    )
    average = [] if average is None else average
    average[:] = [p.detach().clone() for p in parameters]
    began, running = time.monotonic(), 0.0
    for step in range(recipe.steps):
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(step)
        loss.backward()
        average_gradients(parameters, worker)
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimiser.step()
        schedule.step()
        decay = min(recipe.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - decay)
        running = 0.98 * running + 0.02 * float(loss.detach()) if step else float(loss.detach())
        if worker.leads and (step + 1) % 200 == 0:
            seconds = time.monotonic() - began
            print(f"{name} step {step + 1}/{recipe.steps} loss {running:.5f} {seconds:.0f} s", flush=True)
        if step + 1 == recipe.steps:
            load_average(parameters, average)
        yield step


def load_average(parameters: list[nn.Parameter], average: list[Tensor]) -> None:
    """Copy averaged weights into the parameters."""
    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)


def synchronise(parameters: list[nn.Parameter], worker: Worker) -> None:
    """Start every process from the weights of the first."""
    if worker.count > 1:
        with torch.no_grad():
            for parameter in parameters:
                dist.broadcast(parameter, 0)


def average_gradients(parameters: list[nn.Parameter], worker: Worker) -> None:
    """Average the gradients of all processes, in one message."""
    if worker.count == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= worker.count
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()
