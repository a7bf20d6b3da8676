"""ImageReFL's plain ReFL batches: alone, or with the terms that the official code's `state_del` batches keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.training.rollout import TUNED
from bench.training.steps import Trainer, imagerefl_step, refl_step
from tests.unit.bench.training.worlds import (
    RECIPE,
    brightness,
    draws,
    flow_trainer,
    gradient,
    relative_error,
    sd_trainer,
)

OFFICIAL = replace(RECIPE, refl_every=2, refl_terms=True, clip_weight=0.3)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return sd_trainer(tmp_path_factory.mktemp("epsilon"), "epsilon")


def official(trainer: Trainer) -> Tensor:
    """From noise without gradient to m = 6, one x0 with gradient; the denoising term of the noised picture at s = 5."""
    use, model = draws(2), trainer.model
    network: Any = model.networks[TUNED].module
    pictures, captions = trainer.data.pictures(2, use.rng)
    clean = model.encode_pixels(pictures, use.generator)
    scheduler: Any = model.new_scheduler()
    text = model.encode(captions).states
    hidden = next(iter(text.values())).clone()
    noise = torch.randn(clean.shape, generator=use.generator)
    t = scheduler.timesteps[5]
    kept = scheduler.alphas_cumprod[t]
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    denoising = (network(noisy, t, encoder_hidden_states=hidden).sample - noise).square().mean()
    latents = torch.randn(clean.shape, generator=use.generator)
    with torch.no_grad():
        for t in scheduler.timesteps[:6]:
            output = network(latents, t, encoder_hidden_states=hidden).sample
            latents = scheduler.step(output, t, latents, generator=use.generator).prev_sample
    t = scheduler.timesteps[6]
    kept = scheduler.alphas_cumprod[t]
    output = network(latents, t, encoder_hidden_states=hidden).sample
    images = model.decode_pixels((latents - (1 - kept).sqrt() * output) / kept.sqrt())
    made, real = ((2 * x - 1)[..., ::4, ::4].flatten(1) for x in (images, pictures / 2 + 0.5))
    clip = (1 - (made * real).sum(1) / (made.norm(dim=1) * real.norm(dim=1))).mean()
    return 1e-3 * (-brightness(images).mean() + 0.5 * denoising + 0.3 * clip)


@pytest.mark.slow
def test_the_official_batch_keeps_the_terms(trainer: Trainer) -> None:
    trainer.recipe = OFFICIAL
    outcome = imagerefl_step(trainer, draws(2))
    found = gradient(trainer, outcome.loss)
    assert relative_error(found, gradient(trainer, official(trainer))) < 1e-3
    assert set(outcome.terms) == {"denoising", "clip"}
    trainer.recipe = replace(OFFICIAL, refl_terms=False)
    dropped = gradient(trainer, imagerefl_step(trainer, draws(2)).loss)
    assert relative_error(dropped, found) > 0.1


@pytest.mark.parametrize("world", [flow_trainer, None])
def test_without_the_terms_it_is_refl(world: Callable[..., Trainer] | None, trainer: Trainer, tmp_path: Path) -> None:
    made = world() if world is not None else trainer
    made.recipe = replace(RECIPE, refl_every=2)
    ours = gradient(made, imagerefl_step(made, draws(2)).loss)
    assert torch.equal(ours, gradient(made, refl_step(made, draws(2)).loss))
    made.recipe = replace(RECIPE, refl_every=2, refl_terms=True)
    assert imagerefl_step(made, draws(1)).loss == imagerefl_step(replace(made, recipe=RECIPE), draws(1)).loss
