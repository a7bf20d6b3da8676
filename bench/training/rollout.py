"""Partial denoising: without gradient up to a step, then steps with gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.models.base import Conditioning, DiffusionModel

TUNED = "tuned"
"""Name of the network in training."""


def one_step(
    model: DiffusionModel, scheduler: Any, latents: Tensor, place: int, cond: Conditioning, generator: torch.Generator
) -> Any:
    """Denoise step `place` with the tuned network, without guidance, as the official training does."""
    t = scheduler.timesteps[place]
    prediction = model.predict(TUNED, scheduler.scale_model_input(latents, t), t, cond, 1.0)
    return scheduler.step(prediction, t, latents, generator=generator)


@torch.no_grad()
def denoise(
    model: DiffusionModel,
    scheduler: Any,
    latents: Tensor,
    places: range,
    cond: Conditioning,
    generator: torch.Generator,
) -> Tensor:
    """Run the steps of `places` without gradient; an empty range changes nothing. [N, C, H, W] -> the same."""
    for place in places:
        latents = one_step(model, scheduler, latents, place, cond, generator).prev_sample
    return latents


def clean_estimate(
    model: DiffusionModel, scheduler: Any, latents: Tensor, place: int, cond: Conditioning, generator: torch.Generator
) -> Tensor:
    """The x0 that step `place` predicts, with gradient to the tuned network."""
    estimate: Tensor = one_step(model, scheduler, latents, place, cond, generator).pred_original_sample
    return estimate


def last_steps(
    model: DiffusionModel,
    scheduler: Any,
    latents: Tensor,
    places: range,
    cond: Conditioning,
    generator: torch.Generator,
) -> Tensor:
    """Run the steps of `places` with gradient (DRaFT-K, arXiv 2309.17400) and return the last one's x0."""
    for place in places[:-1]:
        latents = one_step(model, scheduler, latents, place, cond, generator).prev_sample
    return clean_estimate(model, scheduler, latents, places[-1], cond, generator)


def pixels_of(model: Any, latents: Tensor) -> Tensor:
    """Decode with gradient: latents [N, C, H, W] -> float pixels [N, 3, H', W'] in [0, 1]."""
    decoded = model.vae.decode(latents / model.vae.config.scaling_factor, return_dict=False)[0]
    return torch.as_tensor((decoded / 2 + 0.5).clamp(0, 1))
