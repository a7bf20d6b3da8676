"""The small data-parallel trainer behind `make shapes`."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.shapes.build.parallel import Recipe, Worker, fit
from tests.tolerance import assert_close

TARGET = torch.tensor([[2.0, -1.0]])


def train(worker: Worker, out: Path, steps: int = 150, ema: float = 0.0) -> None:
    """Fit a line; the two workers see different data, and write what they ended with."""
    torch.manual_seed(worker.rank)  # different starts: the first worker's must win
    model = nn.Linear(2, 1, bias=False)
    generator = torch.Generator().manual_seed(worker.seed(5))

    def loss_of(step: int) -> Tensor:
        inputs = torch.randn(worker.share(16), 2, generator=generator)
        return (model(inputs) - inputs @ TARGET.T).square().mean()

    count = sum(
        1 for _ in fit(model, loss_of, Recipe(steps=steps, learning_rate=0.1, warmup=5, ema=ema), worker, "line")
    )
    assert count == steps
    torch.save(model.weight.detach(), out / f"{worker.rank}.pt")


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_fit_learns(tmp_path: Path, ema: float) -> None:
    train(Worker(0, 1), tmp_path, ema=ema)
    assert_close(torch.load(tmp_path / "0.pt", weights_only=True), TARGET, 0.025)


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    # Processes are spawned: what they run must be importable, which this file is not, nor `tests` for certain, since
    # some packages install a `tests` of their own.
    script = tmp_path / "two.py"
    imports = """
from pathlib import Path
import torch
from torch import Tensor, nn
from bench.shapes.build import parallel
from bench.shapes.build.parallel import Recipe, Worker, fit
TARGET = torch.tensor([[2.0, -1.0]])
"""
    start = f"if __name__ == '__main__':\n    parallel.launch(train, Path({str(tmp_path)!r}), 2)\n"
    script.write_text(f"{imports}\n\n{inspect.getsource(train)}\n\n{start}")
    subprocess.run(
        [sys.executable, str(script)], check=True, timeout=200, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first, second)
    assert_close(first, TARGET, 0.025)


def test_workers_share_a_batch_and_differ_in_seed() -> None:
    workers = [Worker(rank, 2) for rank in range(2)]
    assert [worker.share(64) for worker in workers] == [32, 32]
    assert len({worker.seed(3) for worker in workers}) == 2
    assert [worker.leads for worker in workers] == [True, False]
