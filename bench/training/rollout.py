"""Partial denoising: without gradient up to a step, then one or a few steps with gradient."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.models.base import Conditioning, DiffusionModel
from bench.models.parameterisation import Mix, mix_at, model_input

TUNED = "tuned"
"""Name of the network in training."""


def predict(
    model: DiffusionModel, z: Tensor, t: Tensor, cond: Conditioning, guidance: float = 1.0, network: str = TUNED
) -> Tensor:
    """The network's prediction at its input z [N, ...] and time t, in float32 whatever the model computes in."""
    return model.predict(network, z.to(model.dtype), t, cond, guidance).float()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One batch's way through the sampler's steps with the network in training.

    The scheduler is this batch's own: many keep state. `guidance` is 1 (none) in the official training of Stable
    Diffusion, and the model's own for PixArt.
    """

    model: DiffusionModel
    scheduler: Any
    cond: Conditioning
    generator: torch.Generator
    guidance: float = 1.0

    def begin(self, index: int) -> None:
        """Say that the trajectory enters at this step."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(index)

    def predict(self, latents: Tensor, index: int, network: str = TUNED) -> tuple[Tensor, Tensor]:
        """(prediction, network input) of step `place` at these latents, [N, ...] each."""
        z = model_input(self.scheduler, latents, index)
        t = self.scheduler.timesteps[index]
        return predict(self.model, z, t, self.cond, self.guidance, network), z

    def step(self, latents: Tensor, index: int) -> Tensor:
        """One step of the sampler, with gradient if it is switched on: latents after step `place`."""
        prediction, _ = self.predict(latents, index)
        step = self.scheduler.step
        extra = {"generator": self.generator} if "generator" in inspect.signature(step).parameters else {}
        return torch.as_tensor(
            step(prediction, self.scheduler.timesteps[index], latents, **extra, return_dict=False)[0]
        )

    @torch.no_grad()
    def denoise(self, latents: Tensor, indices: range) -> Tensor:
        """Run the steps of `places` without gradient; an empty range changes nothing."""
        for index in indices:
            latents = self.step(latents, index)
        return latents

    def clean_estimate(self, latents: Tensor, index: int) -> Tensor:
        """The x0 that step `place` predicts, with gradient to the network in training."""
        prediction, z = self.predict(latents, index)
        return self.mix(index).clean_of(prediction, z)

    def last_steps(self, latents: Tensor, indices: range) -> Tensor:
        """Run the steps of `places` with gradient and return the last one's x0 (DRaFT-K, arXiv 2309.17400)."""
        for index in indices[:-1]:
            latents = self.step(latents, index)
        return self.clean_estimate(latents, indices[-1])

    def mix(self, index: int) -> Mix:
        """The noise level of step `place`, on the model's device."""
        mix, device = mix_at(self.scheduler, index), self.model.device
        return Mix(mix.kind, mix.signal.to(device), mix.noise.to(device))
