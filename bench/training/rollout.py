"""Partial denoising: without gradient up to a step, then one or a few steps with gradient."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.models.base import Conditioning, DiffusionModel
from bench.training.parameterisation import Mix, mix_at, model_input

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

    def begin(self, place: int) -> None:
        """Say that the trajectory enters at this step."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(place)

    def predict(self, latents: Tensor, place: int, network: str = TUNED) -> tuple[Tensor, Tensor]:
        """(prediction, network input) of step `place` at these latents, [N, ...] each."""
        z = model_input(self.scheduler, latents, place)
        t = self.scheduler.timesteps[place]
        return predict(self.model, z, t, self.cond, self.guidance, network), z

    def step(self, latents: Tensor, place: int) -> Tensor:
        """One step of the sampler, with gradient if it is switched on: latents after step `place`."""
        prediction, _ = self.predict(latents, place)
        step = self.scheduler.step
        extra = {"generator": self.generator} if "generator" in inspect.signature(step).parameters else {}
        return torch.as_tensor(
            step(prediction, self.scheduler.timesteps[place], latents, **extra, return_dict=False)[0]
        )

    @torch.no_grad()
    def denoise(self, latents: Tensor, places: range) -> Tensor:
        """Run the steps of `places` without gradient; an empty range changes nothing."""
        for place in places:
            latents = self.step(latents, place)
        return latents

    def clean_estimate(self, latents: Tensor, place: int) -> Tensor:
        """The x0 that step `place` predicts, with gradient to the network in training."""
        prediction, z = self.predict(latents, place)
        return self.mix(place).clean_of(prediction, z)

    def last_steps(self, latents: Tensor, places: range) -> Tensor:
        """Run the steps of `places` with gradient and return the last one's x0 (DRaFT-K, arXiv 2309.17400)."""
        for place in places[:-1]:
            latents = self.step(latents, place)
        return self.clean_estimate(latents, places[-1])

    def mix(self, place: int) -> Mix:
        """The noise level of step `place`, on the model's device."""
        mix, device = mix_at(self.scheduler, place), self.model.device
        return Mix(mix.kind, mix.signal.to(device), mix.noise.to(device))
