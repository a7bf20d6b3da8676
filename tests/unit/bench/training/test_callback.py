"""Evaluation inside trainings of others: the events of transformers' trainers, and a loop of one's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from bench.errors import UsageError
from bench.training.callback import EvaluationCallback

Calls = list[tuple[int, Path | None]]


def made(**options: Any) -> tuple[EvaluationCallback, Calls]:
    calls: Calls = []
    return EvaluationCallback(lambda step, folder: calls.append((step, folder)), **options), calls


def test_a_loop_of_ones_own() -> None:
    callback, calls = made(every=2, inside="unet_ema")
    for step in (0, 1, 2, 3, 4, 4):
        callback(step, f"run/checkpoint-{step}" if step else None)
    assert calls == [(0, None), (2, Path("run/checkpoint-2/unet_ema")), (4, Path("run/checkpoint-4/unet_ema"))]
    assert callback.judged == [0, 2, 4]


def test_only_the_first_process_evaluates() -> None:
    callback, calls = made()
    state = SimpleNamespace(is_world_process_zero=False, global_step=3)
    callback.on_train_begin(SimpleNamespace(output_dir="run"), state, None)
    callback.on_save(SimpleNamespace(output_dir="run"), state, None)
    assert calls == []


def test_an_evaluation_that_fails_does_not_end_the_training(said: list[str]) -> None:

    def evaluate(step: int, folder: Path | None) -> None:
        raise UsageError("no such suite.")

    callback = EvaluationCallback(evaluate)
    callback(5, "run/checkpoint-5")
    assert (callback.failed, callback.judged) == ([5], [])
    assert "after 5 updates cannot be evaluated; training continues: no such suite" in said[-1]

    def broken(step: int, folder: Path | None) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        EvaluationCallback(broken)(5, "x")


class Line(nn.Module):
    """y = w x, with the loss that a trainer wants."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight * x - labels).square().mean()}


def test_a_trainer_of_transformers_calls_it(tmp_path: Path) -> None:
    """TRL's trainers have the same events."""
    callback, calls = made()
    rows = [{"x": torch.tensor(1.0), "labels": torch.tensor(2.0)}] * 4
    arguments = TrainingArguments(
        str(tmp_path), max_steps=4, save_steps=2, per_device_train_batch_size=1, report_to=[], use_cpu=True,
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(model=Line(), args=arguments, train_dataset=rows, callbacks=[callback]).train()
    assert calls == [(0, None), (2, tmp_path / "checkpoint-2"), (4, tmp_path / "checkpoint-4")]
    assert all(folder is None or folder.is_dir() for _, folder in calls)
