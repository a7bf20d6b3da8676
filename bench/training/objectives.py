"""The objectives as short pure functions. r is a reward, higher is better; every value is a mean over the batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

REWARD_SCALE = 1e-3
"""lambda: weight of the reward term in the ImageReward and ImageReFL papers' code."""


def refl_loss(rewards: Tensor) -> Tensor:
    """-lambda r: the reward term of ImageReFL's code (arXiv 2505.22569). `rewards` [N] -> scalar."""
    return -REWARD_SCALE * rewards.mean()


def refl_hinge_loss(rewards: Tensor, ceiling: float = 2.0) -> Tensor:
    """lambda relu(2 - r): ReFL as published (arXiv 2304.05977, eq. 5). `rewards` [N] -> scalar."""
    return REWARD_SCALE * F.relu(ceiling - rewards).mean()


REWARD_LOSSES = {"linear": refl_loss, "hinge": refl_hinge_loss}
"""How a reward becomes a loss: -r, or relu(2 - r), which stops pushing above 2."""


def denoising_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """mse(eps_theta(z_t, t, c), eps): Ho et al. 2020, arXiv 2006.11239, eq. 14. Both [N, ...] -> scalar."""
    return F.mse_loss(predicted, target)


def imagerefl_loss(reward_loss: Tensor, terms: Mapping[str, tuple[float, Tensor]]) -> Tensor:
    """lambda (-r + sum_k w_k term_k): ImageReFL (arXiv 2505.22569), in whose code the denoising loss has w = 0.01.

    `reward_loss` is lambda times the reward's loss, `terms` name -> (weight, value); a term of weight 0 does not count,
    whatever its value. All scalars -> scalar.
    """
    counted = [REWARD_SCALE * weight * value for weight, value in terms.values() if weight != 0.0]
    return torch.stack([reward_loss, *counted]).sum()


def cosine_distance(generated: Tensor, real: Tensor) -> Tensor:
    """1 - cos(CLIP(x0), CLIP(x)): the image regulariser of ImageReFL's second version. Embeddings [N, D] -> scalar."""
    return (1.0 - F.cosine_similarity(generated.flatten(1), real.flatten(1), dim=-1)).mean()


def step_kl(clean: Tensor, base_clean: Tensor, snr: Tensor, next_snr: Tensor) -> Tensor:
    """KL of the tuned step's Gaussian from the base model's: 1/2 (SNR(s) - SNR(t)) |x0_theta - x0_base|^2.

    The step goes from time t to the less noisy s (Kingma et al. 2021, arXiv 2107.00630, eq. 13), with both networks at
    the same z_t. Predicted clean latents [N, ...], scalar ratios -> mean over samples and elements (so that the
    weight does not depend on the resolution).
    """
    return 0.5 * (next_snr - snr) * F.mse_loss(clean, base_clean)


def prediction_l2(prediction: Tensor, base_prediction: Tensor) -> Tensor:
    """|f_theta(z_t) - f_base(z_t)|^2, mean over the elements: keeps the tuned prediction near the base's. -> scalar."""
    return F.mse_loss(prediction, base_prediction)
