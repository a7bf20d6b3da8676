"""The arithmetic of samplers that couple the images of a prompt (`bench.methods.coupling`), each prompt by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.methods.coupling import Coupling
    from bench.models.parameterisation import Mix

MOST_SIGMA = 15.0
"""Particle guidance grows with the noise level, which begins at infinity in flow matching: no more than this is taken.

Stable Diffusion begins at 14.6, so that nothing is cut there.
"""


def coupled(prediction: Tensor, z: Tensor, mix: Mix, coupling: Coupling, prompt_ids: Sequence[str]) -> Tensor:
    """The prediction [N, ...] at z, what the network saw, with the images of each prompt pushed apart.

    Item n belongs to prompt_ids[n]. In float32, whatever the model's precision; the result has the prediction's.
    """
    if float(mix.signal) == 0.0 and mix.kind == "epsilon":  # pure noise: no prediction of eps says anything of x0
        return prediction
    sigma = min(float(mix.noise / mix.signal), MOST_SIGMA) if float(mix.signal) > 0 else MOST_SIGMA
    if coupling.kind == "particle_guidance" and sigma < float(coupling.least_noise or 0.0):
        return prediction
    groups: dict[str, list[int]] = {}
    for index, prompt_id in enumerate(prompt_ids):
        groups.setdefault(prompt_id, []).append(index)
    made = prediction.clone()
    for rows in groups.values():
        said, seen = prediction[rows].float(), z[rows].float()
        if coupling.kind == "spell":
            shift = shielded(mix.clean_of(said, seen), float(coupling.shield or 0.0), float(coupling.overshoot or 0.0))
        else:
            scale = float(coupling.repulsion or 0.0) * seen[0].numel() * sigma**2  # of eps: sigma; of x0: once more
            shift = scale * repulsion(seen, float(coupling.bandwidth or 1.0))
        made[rows] = mix.moved(said, shift).to(made.dtype)
    return made


def repulsion(z: Tensor, bandwidth: float) -> Tensor:
    """Of latents [K, ...] the sum over the others of k_ij (z_i - z_j) 2 / h_i, of their shape."""
    pushed = []
    for one in range(len(z)):
        away, squared = _from_others(z, one)
        h = (bandwidth * squared.median() / math.log(len(z))).clamp_min(torch.finfo(z.dtype).tiny)
        weights = (-squared / h).exp() * 2 / h
        pushed.append((weights.view(-1, *(1,) * (z.ndim - 1)) * away).sum(dim=0))
    return torch.stack(pushed)


def shielded(clean: Tensor, shield: float, overshoot: float) -> Tensor:
    """How far clean latents [K, ...] are pushed out of the balls around the others, of their shape; 0 outside."""
    radius, pushed = shield * math.sqrt(clean[0].numel()), []
    for one in range(len(clean)):
        away, squared = _from_others(clean, one)
        # Two that are equal have no direction to leave in: they stay.
        factor = (radius / squared.sqrt().clamp_min(torch.finfo(clean.dtype).tiny) - 1.0).clamp_min(0.0)
        factor = torch.where(squared > 0, factor, torch.zeros_like(factor))
        pushed.append((factor.view(-1, *(1,) * (clean.ndim - 1)) * away).sum(dim=0))
    return overshoot * torch.stack(pushed)


def _from_others(x: Tensor, one: int) -> tuple[Tensor, Tensor]:
    """x_one - x_j of all others [K - 1, ...], and the squares of their lengths [K - 1]."""
    # One at a time: all pairs at once would take K times the memory of the latents.
    away = x[one] - torch.cat([x[:one], x[one + 1 :]])
    return away, away.flatten(1).square().sum(dim=1)
