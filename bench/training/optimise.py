"""From a batch's gradients to new weights: optimiser, learning-rate schedule, precision, processes (accelerate)."""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import MissingError, UsageError, unknown
from bench.training.recipes import TrainRecipe

OFFICIAL_SCALE = 2.0**16
"""What torch's GradScaler multiplies gradients with at first."""


def own_device(device: str) -> str:
    """This process's own GPU where `accelerate launch` started several processes, else `device` as it is."""
    rank = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{rank}" if device == "cuda" and rank else device


def new_accelerator(recipe: TrainRecipe, device: str) -> Any:
    """accelerate's view of this process: how many there are, its precision, its loss scaling.

    Raises UsageError for a precision that the device cannot do.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import AutocastKwargs

    mixed = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[recipe.precision]
    if mixed == "fp16" and not device.startswith("cuda"):
        raise UsageError(f"precision float16 needs a CUDA device, not '{device}': use --set precision=bfloat16")
    AcceleratorState._reset_state()  # an earlier training of this process may have had another precision
    return Accelerator(
        mixed_precision=mixed,
        gradient_accumulation_steps=recipe.accumulation,
        cpu=device == "cpu",
        # Casts made without gradient would be found again, without gradient, in the step that needs one.
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )


def new_optimiser(parameters: list[nn.Parameter], recipe: TrainRecipe) -> Any:
    """The recipe's optimiser. Raises MissingError if the 8-bit one's package is not installed."""
    kind: Any = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    if recipe.optimiser == "adamw8bit":
        try:
            kind = importlib.import_module("bitsandbytes.optim").AdamW8bit
        except ImportError:
            raise MissingError(
                "the optimiser adamw8bit needs the package bitsandbytes: run `pip install bitsandbytes`, or leave "
                "--set optimiser=adamw8bit out"
            ) from None
    return kind(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def new_schedule(optimiser: Any, recipe: TrainRecipe) -> Any:
    """diffusers' learning-rate schedule of this name. Raises UsageError for an unknown one."""
    from diffusers.optimization import SchedulerType, get_scheduler

    known = [kind.value for kind in SchedulerType if kind is not SchedulerType.PIECEWISE_CONSTANT]
    if recipe.schedule not in known:
        raise unknown("learning-rate schedule", recipe.schedule, known)
    return get_scheduler(recipe.schedule, optimiser, num_warmup_steps=recipe.warmup, num_training_steps=recipe.steps)


@dataclass(slots=True)
class Optimiser:
    """One optimiser update an iteration (the official preset: two, as its code does)."""

    accelerator: Any
    recipe: TrainRecipe
    parameters: list[nn.Parameter]
    inner: Any
    schedule: Any

    @classmethod
    def of(cls, parameters: list[nn.Parameter], recipe: TrainRecipe, device: str) -> Optimiser:
        """The recipe's optimiser for these parameters on this process's device. Raises BenchError."""
        accelerator = new_accelerator(recipe, device)
        inner = new_optimiser(parameters, recipe)
        schedule = new_schedule(inner, recipe)
        return cls(accelerator, recipe, parameters, accelerator.prepare(inner), schedule)

    def backward(self, loss: Tensor) -> None:
        """Add a batch's gradients; where the recipe averages, divided by the number of batches of an update."""
        # accelerate divides by the number of batches, as most trainers do; the official ImageReFL trainer does not.
        self.accelerator.backward(loss * self.recipe.accumulation if self.recipe.accumulate == "sum" else loss)

    def update(self) -> float:
        """Average (or sum) over the processes, clip, update; returns the gradient norm before clipping.

        The processes' gradients are put together here, once an update, and not by wrapping the network: it runs many
        times without gradient, and twice with it, before one backward pass. A norm that is not finite changes nothing.
        """
        if self.accelerator.num_processes > 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, reduction=self.recipe.accumulate)
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, self.recipe.clip or math.inf))
        if math.isfinite(norm) or self.accelerator.scaler is not None:  # the scaler skips such an update itself
            if self.recipe.double_update and math.isfinite(norm):
                self._scaled_update()
            self.inner.step()
            if not self.inner.step_was_skipped:
                self.schedule.step()
        self.inner.zero_grad(set_to_none=True)
        return norm

    def _scaled_update(self) -> None:
        """The official code's first update, made before its gradients are unscaled."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, OFFICIAL_SCALE)
        self.inner.optimizer.step()
        torch._foreach_div_(gradients, OFFICIAL_SCALE)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return float(self.schedule.get_last_lr()[0])

    def state(self) -> dict[str, Any]:
        """Everything that the next update depends on, besides weights and gradients."""
        scaler = self.accelerator.scaler
        return {
            "optimiser": self.inner.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.inner.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
