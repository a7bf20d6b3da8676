"""The objectives as short pure functions. r is a reward, higher is better; all losses are means over the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

REWARD_SCALE = 1e-3
"""Weight of the reward term in the ImageReward and ImageReFL papers' code."""


def refl_loss(rewards: Tensor) -> Tensor:
    """-lambda r: the reward term of ImageReFL's code (arXiv 2505.22569). `rewards` [N] -> scalar."""
    return -REWARD_SCALE * rewards.mean()


def refl_hinge_loss(rewards: Tensor, ceiling: float = 2.0) -> Tensor:
    """lambda relu(2 - r): ReFL as published (arXiv 2304.05977, eq. 5). `rewards` [N] -> scalar."""
    return REWARD_SCALE * F.relu(ceiling - rewards).mean()


def imagerefl_loss(rewards: Tensor, predicted_noise: Tensor, noise: Tensor, diffusion_weight: float) -> Tensor:
    """lambda (-r + w mse(eps_theta(z_s, s, c), eps)): ImageReFL (arXiv 2505.22569), w = 0.01 in its code.

    `predicted_noise` and `noise` have the latents' shape [N, C, H, W].
    """
    return refl_loss(rewards) + REWARD_SCALE * diffusion_weight * F.mse_loss(predicted_noise, noise)


def denoising_target(scheduler: Any, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """What the network shall predict: the noise, or v = sqrt(abar) eps - sqrt(1 - abar) x0 (arXiv 2202.00512)."""
    if scheduler.config.prediction_type == "v_prediction":
        return torch.as_tensor(scheduler.get_velocity(clean, noise, times))
    return noise


def noise_of(scheduler: Any, prediction: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
    """The noise that a prediction amounts to: eps = sqrt(abar) v + sqrt(1 - abar) x_t for velocity, else itself."""
    if scheduler.config.prediction_type != "v_prediction":
        return prediction
    signal = scheduler.alphas_cumprod.to(noisy.device)[times].to(noisy.dtype)[:, None, None, None]
    return torch.as_tensor(signal.sqrt() * prediction + (1.0 - signal).sqrt() * noisy)
