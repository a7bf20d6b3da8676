"""The objectives against their formulas."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from bench.training.objectives import (
    REWARD_SCALE,
    denoising_target,
    imagerefl_loss,
    noise_of,
    refl_hinge_loss,
    refl_loss,
)

REWARDS = torch.tensor([0.5, 3.0])


def test_refl_losses() -> None:
    assert float(refl_loss(REWARDS)) == pytest.approx(-1.75e-3)
    assert float(refl_hinge_loss(REWARDS)) == pytest.approx(0.75e-3), "a reward past 2 earns nothing more"


def test_imagerefl_loss_adds_the_weighted_diffusion_error() -> None:
    predicted, noise = torch.zeros(2, 4, 2, 2), torch.full((2, 4, 2, 2), 3.0)
    expected = REWARD_SCALE * (-1.75 + 0.01 * 9.0)
    assert float(imagerefl_loss(REWARDS, predicted, noise, 0.01)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noise_is_recovered_from_the_target(kind: str) -> None:
    scheduler = DDPMScheduler(prediction_type=kind)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    times = torch.tensor([10, 500, 990])
    noisy = scheduler.add_noise(clean, noise, times)
    target = denoising_target(scheduler, clean, noise, times)
    torch.testing.assert_close(noise_of(scheduler, target, noisy, times), noise, atol=1e-5, rtol=1e-5)
