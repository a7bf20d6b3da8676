"""The objectives against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal, kl_divergence

from bench.models.parameterisation import mix_at, next_mix
from bench.training.objectives import (
    REWARD_SCALE,
    cosine_distance,
    denoising_loss,
    imagerefl_loss,
    prediction_l2,
    refl_hinge_loss,
    refl_loss,
    step_kl,
)
from tests.tolerance import assert_close

REWARDS = torch.tensor([0.5, 3.0])


def test_refl_losses() -> None:
    assert float(refl_loss(REWARDS)) == pytest.approx(-1.75e-3)
    assert float(refl_hinge_loss(REWARDS)) == pytest.approx(0.75e-3), "a reward past 2 earns nothing more"


def test_imagerefl_loss_adds_the_weighted_diffusion_error() -> None:
    error = denoising_loss(torch.zeros(2, 4, 2, 2), torch.full((2, 4, 2, 2), 3.0))
    terms = {"denoising": (0.01, error), "clip": (2.0, torch.tensor(0.25))}
    expected = REWARD_SCALE * (-1.75 + 0.01 * 9.0 + 2.0 * 0.25)
    assert float(imagerefl_loss(refl_loss(REWARDS), terms)) == pytest.approx(expected)


def test_distances() -> None:
    one, two = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    assert float(cosine_distance(one, two)) == pytest.approx((0 + 1 - 1 / math.sqrt(2)) / 2)
    assert float(prediction_l2(one, two)) == pytest.approx((4 + 0 + 1 + 1) / 4)
    assert float(denoising_loss(one, two)) == pytest.approx(1.5)


def test_imagerefl_loss_leaves_out_what_does_not_count() -> None:
    broken = torch.tensor(float("nan"))
    assert float(imagerefl_loss(torch.tensor(3.0), {"kl": (0.0, broken)})) == 3.0


@pytest.mark.parametrize("index", [0, 20, 38])
def test_step_kl_is_the_kl_of_the_samplers_gaussians(index: int) -> None:
    """Against torch's KL of the two normal distributions that DDPM's strided step draws from."""
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(40)
    clean, base = torch.tensor([[0.3, -1.0, 0.5]]), torch.tensor([[0.1, -0.7, 0.9]])
    now, then = scheduler.timesteps[index], scheduler.timesteps[index + 1]
    kept, kept_then = scheduler.alphas_cumprod[now], scheduler.alphas_cumprod[then]
    beta = 1 - kept / kept_then
    coefficient = kept_then.sqrt() * beta / (1 - kept)
    deviation = ((1 - kept_then) / (1 - kept) * beta).sqrt()
    expected = kl_divergence(Normal(coefficient * clean, deviation), Normal(coefficient * base, deviation)).mean()
    found = step_kl(clean, base, mix_at(scheduler, index).snr, next_mix(scheduler, index).snr)
    assert_close(found, expected, 1e-3)


def test_step_kl_is_finite_at_the_last_step() -> None:
    scheduler = DDPMScheduler()
    scheduler.set_timesteps(40)
    levels = mix_at(scheduler, 39).snr, next_mix(scheduler, 39).snr
    assert math.isfinite(float(step_kl(torch.zeros(1), torch.ones(1), *levels)))
