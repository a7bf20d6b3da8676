"""Between pixels and latents, with gradient: what training needs of a model beyond `DiffusionModel`.

An adapter may bring its own `encode_pixels(pixels, generator)` and `decode_pixels(latents)` (a family that packs its
latents must); otherwise the autoencoder is used as diffusers' pipelines use it: z = (z_vae - shift) x scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def encode(model: Any, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Real pictures, float [N, 3, H, W] in [-1, 1], as latents [N, ...], drawn from the encoder's posterior."""
    if hasattr(model, "encode_pixels"):
        return torch.as_tensor(model.encode_pixels(pixels, generator)).float()
    vae = model.vae
    posterior = vae.encode(pixels.to(device=model.device, dtype=vae.dtype)).latent_dist
    return torch.as_tensor((posterior.sample(generator) - _shift(vae)) * vae.config.scaling_factor).float()


def decode(model: Any, latents: Tensor) -> Tensor:
    """Latents [N, ...] as float pixels [N, 3, H, W] in [0, 1], with gradient."""
    if hasattr(model, "decode_pixels"):
        return torch.as_tensor(model.decode_pixels(latents)).float()
    vae = model.vae
    decoded = vae.decode((latents / vae.config.scaling_factor + _shift(vae)).to(vae.dtype), return_dict=False)[0]
    return torch.as_tensor(decoded / 2 + 0.5).clamp(0, 1).float()


def _shift(vae: Any) -> float:
    return float(getattr(vae.config, "shift_factor", None) or 0.0)
