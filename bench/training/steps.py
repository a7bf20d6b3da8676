"""What one batch costs under each objective: where the trajectory starts, where gradient flows, what is summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.models.base import BASE, Conditioning, DiffusionModel
from bench.models.parameterisation import Mix, next_mix, random_mix, to_latents
from bench.suite.schema import Suite
from bench.training.data import TrainingData
from bench.training.objectives import (
    REWARD_LOSSES,
    cosine_distance,
    denoising_loss,
    imagerefl_loss,
    prediction_l2,
    step_kl,
)
from bench.training.recipes import TrainRecipe
from bench.training.rewards import Reward
from bench.training.rollout import Rollout, predict

CAPTION_DROPOUT = 0.1


@dataclass(slots=True)
class Trainer:
    """Everything a batch needs. `clip` is the scorer whose image tower the CLIP regulariser uses."""

    model: DiffusionModel
    reward: Reward | None
    data: TrainingData
    recipe: TrainRecipe
    suite: Suite
    clip: Any = None

    def conditioning(self, captions: list[str]) -> Conditioning:
        """Encoded captions as copies that autograd may save (encoders run in inference mode)."""
        self.model.forget()
        with torch.no_grad():
            cond = self.model.encode(captions)
            states = {name: state.clone() for name, state in cond.states.items()}
            return Conditioning(states, {name: state.clone() for name, state in cond.empty.items()})

    def rollout(self, captions: list[str], generator: torch.Generator) -> Rollout:
        """A fresh way through the sampler for these captions."""
        scheduler = self.model.new_scheduler()
        return Rollout(self.model, scheduler, self.conditioning(captions), generator, self.recipe.guidance)

    def pure_noise(self, way: Rollout, count: int) -> Tensor:
        """Latents of a trajectory that enters at step 0."""
        noise = torch.randn((count, *self.model.latents_shape), generator=way.generator).to(self.model.device)
        way.begin(0)
        return torch.as_tensor(noise * getattr(way.scheduler, "init_noise_sigma", 1.0))

    def real(self, draws: Draws) -> tuple[Tensor, Tensor, list[str]]:
        """(pictures [N, 3, H, W] in [-1, 1], their latents, captions) of a batch of real images."""
        pictures, captions = self.data.pictures(self.recipe.batch_size, draws.rng, draws.number)
        return pictures, self.model.encode_pixels(pictures, draws.generator), captions

    def rewards_of(self, clean: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        """(rewards [N], decoded pixels) of clean latents, with gradient."""
        assert self.reward is not None
        images = self.model.decode_pixels(clean)
        return torch.as_tensor(self.reward.score_pixels(images, captions)), images

    def reward_loss(self, rewards: Tensor) -> Tensor:
        """The reward term in the recipe's form."""
        return REWARD_LOSSES[self.recipe.reward_loss](rewards)


@dataclass(frozen=True, slots=True)
class Draws:
    """The randomness of one batch: `rng` picks data and steps, `generator` makes noise. `number` counts from 1."""

    rng: np.random.Generator
    generator: torch.Generator
    number: int = 1

    def noise_like(self, latents: Tensor) -> Tensor:
        """Standard normal noise of this shape, drawn on the CPU so that the device does not change it."""
        return torch.randn(latents.shape, generator=self.generator).to(latents.device)


@dataclass(slots=True)
class Outcome:
    """A batch's loss with gradient, its rewards [N] where there are any, and the terms for the log."""

    loss: Tensor
    rewards: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)


Step = Callable[[Trainer, Draws], Outcome]


def base_step(trainer: Trainer, draws: Draws) -> Outcome:
    """Plain denoising of real pictures at random times; captions are dropped at times, for guidance."""
    pictures, captions = trainer.data.pictures(trainer.recipe.batch_size, draws.rng, draws.number)
    captions = ["" if draws.rng.random() < CAPTION_DROPOUT else text for text in captions]
    clean = trainer.model.encode_pixels(pictures, draws.generator)
    noise = draws.noise_like(clean)
    mix, times = random_mix(trainer.model.new_scheduler(), len(clean), clean.dim(), draws.generator)
    mix = Mix(mix.kind, mix.signal.to(clean.device), mix.noise.to(clean.device))
    cond = trainer.conditioning(captions)
    prediction = predict(trainer.model, mix.noised(clean, noise), times.to(clean.device), cond)
    return Outcome(denoising_loss(prediction, mix.target(clean, noise)))


def refl_step(trainer: Trainer, draws: Draws) -> Outcome:
    """ReFL (arXiv 2304.05977): from noise without gradient to a random m, there one x0 with gradient to the reward."""
    captions = trainer.data.captions(trainer.recipe.batch_size, draws.rng, draws.number)
    way = trainer.rollout(captions, draws.generator)
    first, last = trainer.recipe.grad_steps
    m = int(draws.rng.integers(first, last + 1))
    latents = way.denoise(trainer.pure_noise(way, len(captions)), range(m))
    rewards, _ = trainer.rewards_of(way.clean_estimate(latents, m), captions)
    return Outcome(trainer.reward_loss(rewards), rewards)


def draft_step(trainer: Trainer, draws: Draws) -> Outcome:
    """DRaFT-K and DRaFT-LV (arXiv 2309.17400, algorithm 1): gradient through the last K steps of the trajectory.

    LV takes further gradients at the last step alone, from `copies` re-noised copies of the finished latents: the
    same expectation with less variance.
    """
    recipe = trainer.recipe
    captions = trainer.data.captions(recipe.batch_size, draws.rng, draws.number)
    way = trainer.rollout(captions, draws.generator)
    total = len(way.scheduler.timesteps)
    split = total - recipe.last_steps
    latents = way.denoise(trainer.pure_noise(way, len(captions)), range(split))
    clean = way.last_steps(latents, range(split, total))
    rewards, _ = trainer.rewards_of(clean, captions)
    losses = [trainer.reward_loss(rewards)]
    mix = way.mix(total - 1)
    for _ in range(recipe.copies):
        z = mix.noised(clean.detach(), draws.noise_like(clean))
        prediction = predict(trainer.model, z, way.scheduler.timesteps[-1], way.cond, recipe.guidance)
        losses.append(trainer.reward_loss(trainer.rewards_of(mix.clean_of(prediction, z), captions)[0]))
    return Outcome(torch.stack(losses).mean(), rewards)


def imagerefl_step(trainer: Trainer, draws: Draws) -> Outcome:
    """ImageReFL (arXiv 2505.22569): a real picture noised to step s, without gradient to m, there one x0 with gradient.

    The denoising term is taken at step s on the same noised picture. Every `refl_every`-th batch goes from noise to m
    as ReFL does; the official code keeps the other terms there (`refl_terms`).
    """
    recipe = trainer.recipe
    plain = bool(recipe.refl_every) and draws.number % recipe.refl_every == 0
    if plain and not recipe.refl_terms:
        return refl_step(trainer, draws)
    pictures, clean, captions = trainer.real(draws)
    way = trainer.rollout(captions, draws.generator)
    noise = draws.noise_like(clean)
    s = recipe.start_step
    z_s = way.mix(s).noised(clean, noise)
    at_s = predict(trainer.model, z_s, way.scheduler.timesteps[s], way.cond)
    m = int(
        draws.rng.integers(recipe.grad_steps[0] if plain else max(s, recipe.grad_steps[0]), recipe.grad_steps[1] + 1)
    )
    latents = _latents_at(trainer, way, m, None if plain else z_s)
    terms = {"denoising": (recipe.diffusion_weight, denoising_loss(way.mix(s).eps_of(at_s, z_s), noise))}
    base = _base_prediction(trainer, way, latents, m)
    prediction, z_m = way.predict(latents, m)
    estimate = way.mix(m).clean_of(prediction, z_m)
    if base is not None:
        levels = way.mix(m).snr, next_mix(way.scheduler, m).snr.to(z_m.device)
        terms["kl"] = recipe.kl_weight, step_kl(estimate, way.mix(m).clean_of(base, z_m), *levels)
        terms["l2"] = recipe.l2_weight, prediction_l2(prediction, base)
    rewards, images = trainer.rewards_of(estimate, captions)
    if recipe.clip_weight:
        terms["clip"] = recipe.clip_weight, _clip_distance(trainer.clip, images, pictures)
    loss = imagerefl_loss(trainer.reward_loss(rewards), terms)
    return Outcome(loss, rewards, {name: value.detach() for name, (_, value) in terms.items()})


def _latents_at(trainer: Trainer, way: Rollout, m: int, z_s: Tensor | None) -> Tensor:
    """The latents at step m, without gradient: from the noised picture z_s at step s, or from noise (None).

    The official code runs one step too many when m = s, step s - 1 on latents that are already at s (`off_by_one`).
    """
    recipe, s = trainer.recipe, trainer.recipe.start_step
    if z_s is None:
        return way.denoise(trainer.pure_noise(way, recipe.batch_size), range(m))
    way.begin(s)
    latents = to_latents(way.scheduler, z_s, s)
    if recipe.off_by_one and m == s and s > 0:
        latents = _step_too_many(trainer, way, latents, s - 1)
    return way.denoise(latents, range(s, m))


STEPS: dict[str, Step] = {"base": base_step, "refl": refl_step, "draft": draft_step, "imagerefl": imagerefl_step}


def _step_too_many(trainer: Trainer, way: Rollout, latents: Tensor, index: int) -> Tensor:
    """Step `place` on latents that are behind it already, with a scheduler of its own.

    Schedulers with noise levels sigma count their steps: the way's own would take this one for its first.
    """
    aside = replace(way, scheduler=trainer.model.new_scheduler())
    aside.begin(index)
    return aside.denoise(latents, range(index, index + 1))


@torch.no_grad()
def _base_prediction(trainer: Trainer, way: Rollout, latents: Tensor, index: int) -> Tensor | None:
    """The base network's prediction at the step with gradient, if a regulariser asks for it.

    Before the tuned one: where both share a module (LoRA) the adapter must be on when gradient flows back.
    """
    if not (trainer.recipe.kl_weight or trainer.recipe.l2_weight):
        return None
    return way.predict(latents, index, BASE)[0]


def _clip_distance(scorer: Any, images: Tensor, pictures: Tensor) -> Tensor:
    """1 - cosine of the scorer's image embeddings of generated pixels (with gradient) and real pictures in [-1, 1]."""
    with torch.no_grad():
        real = scorer.encode_images(scorer.prepare_pixels((pictures.to(images.device) / 2 + 0.5).clamp(0, 1)))
    return cosine_distance(scorer.encode_images(scorer.prepare_pixels(images)), real)
