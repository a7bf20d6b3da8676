"""The training loop: one optimiser update an iteration, atomic checkpoints, a CSV log."""

from __future__ import annotations

import copy
import csv
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import log
from bench.errors import BenchError, MissingError, UsageError
from bench.models.base import Network
from bench.suite import Suite, load_suite
from bench.training.data import TrainingData, data_for
from bench.training.objectives import denoising_target, imagerefl_loss, noise_of, refl_loss
from bench.training.options import TrainOptions
from bench.training.recipes import TrainRecipe, recipe_for
from bench.training.rollout import TUNED, clean_estimate, denoise, last_steps, pixels_of

DEFAULT_REWARD = "pickscore"
CAPTION_DROPOUT = 0.1


@dataclass(slots=True)
class Trainer:
    """Everything a step needs."""

    model: Any
    scheduler: Any
    reward: Any
    data: TrainingData
    recipe: TrainRecipe
    suite: Suite

    def reward_of(self, clean: Tensor, captions: list[str]) -> Tensor:
        """Rewards [N] of decoded latents, with gradient."""
        return torch.as_tensor(self.reward.score_pixels(pixels_of(self.model, clean), captions))

    def start(self, captions: list[str], generator: torch.Generator) -> Tensor:
        """Initial latents of pure noise."""
        noise = torch.randn((len(captions), *self.model.latents_shape), generator=generator)
        return torch.as_tensor(noise.to(self.model.device) * self.scheduler.init_noise_sigma)

    def encode(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Latents of real pictures, sampled from the encoder's posterior."""
        with torch.no_grad():
            posterior = self.model.vae.encode(pictures.to(self.model.device)).latent_dist
        return torch.as_tensor(posterior.sample(generator) * self.model.vae.config.scaling_factor)


StepLoss = Callable[[Trainer, np.random.Generator, torch.Generator], tuple[Tensor, Tensor | None]]
"""One batch's loss and, where there is one, its rewards [N]."""


def base_step(trainer: Trainer, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Plain denoising of real pictures at uniform times; captions are dropped at times, for guidance."""
    pictures, captions = trainer.data.pictures(trainer.recipe.batch_size, rng)
    captions = ["" if rng.random() < CAPTION_DROPOUT else text for text in captions]
    clean = trainer.encode(pictures, generator)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    times = torch.randint(0, trainer.scheduler.config.num_train_timesteps, (len(clean),), generator=generator)
    times = times.to(clean.device)
    noisy = trainer.scheduler.add_noise(clean, noise, times)
    prediction = trainer.model.predict(TUNED, noisy, times, trainer.model.encode(captions), 1.0)
    return F.mse_loss(prediction, denoising_target(trainer.scheduler, clean, noise, times)), None


def refl_step(trainer: Trainer, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """ReFL (arXiv 2304.05977): from noise without gradient to a random m, there one x0 with gradient to the reward."""
    captions = trainer.data.captions(trainer.recipe.batch_size, rng)
    cond = trainer.model.encode(captions)
    first, last = trainer.recipe.grad_steps
    m = int(rng.integers(first, last + 1))
    latents = trainer.start(captions, generator)
    latents = denoise(trainer.model, trainer.scheduler, latents, range(m), cond, generator)
    rewards = trainer.reward_of(clean_estimate(trainer.model, trainer.scheduler, latents, m, cond, generator), captions)
    return refl_loss(rewards), rewards


def draft_step(trainer: Trainer, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """DRaFT-K (arXiv 2309.17400): gradient through the last K steps of the whole trajectory."""
    captions = trainer.data.captions(trainer.recipe.batch_size, rng)
    cond = trainer.model.encode(captions)
    total = trainer.suite.sampler.steps
    split = total - trainer.recipe.last_steps
    latents = trainer.start(captions, generator)
    latents = denoise(trainer.model, trainer.scheduler, latents, range(split), cond, generator)
    clean = last_steps(trainer.model, trainer.scheduler, latents, range(split, total), cond, generator)
    rewards = trainer.reward_of(clean, captions)
    return refl_loss(rewards), rewards


def imagerefl_step(
    trainer: Trainer, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """ImageReFL (arXiv 2505.22569): a real picture noised to step s, without gradient to m, there one x0 with gradient.

    The diffusion regulariser is taken at step s on the same noised picture.
    """
    recipe, scheduler, model = trainer.recipe, trainer.scheduler, trainer.model
    pictures, captions = trainer.data.pictures(recipe.batch_size, rng)
    cond = model.encode(captions)
    clean = trainer.encode(pictures, generator)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    s = recipe.start_step
    times = scheduler.timesteps[s].repeat(len(clean))
    noisy = scheduler.add_noise(clean, noise, times)
    predicted = noise_of(scheduler, model.predict(TUNED, noisy, times, cond, 1.0), noisy, times)
    m = int(rng.integers(max(s, recipe.grad_steps[0]), recipe.grad_steps[1] + 1))
    latents = denoise(model, scheduler, noisy, range(s, m), cond, generator)
    rewards = trainer.reward_of(clean_estimate(model, scheduler, latents, m, cond, generator), captions)
    return imagerefl_loss(rewards, predicted, noise, recipe.diffusion_weight), rewards


STEPS: dict[str, StepLoss] = {"base": base_step, "refl": refl_step, "draft": draft_step, "imagerefl": imagerefl_step}


def train(objective: str, options: TrainOptions) -> Path | None:
    """Train and write the checkpoint; None (and a note) if a complete one of the same settings is there."""
    suite = load_suite(options.suite)
    recipe = recipe_for(options, suite.label)
    check_recipe(recipe, suite)
    reward = None if objective == "base" else options.reward or DEFAULT_REWARD
    name = objective if reward is None else f"{objective}-{reward}"
    out = options.out or Path("results") / "checkpoints" / suite.name / f"{name}-seed{options.seed}"
    facts = {
        "schema_version": 1,
        "objective": objective,
        "suite": suite.name,
        "reward": reward,
        "init": options.init,
        "seed": options.seed,
        "recipe": asdict(recipe),
    }
    if options.resume != "never" and _written(out) == json.loads(json.dumps(facts)):
        log.note(f"nothing to do: {out} holds this training already (--resume never trains it again).")
        return None
    if options.resume != "never" and out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} holds something else: choose another --out, or --resume never to replace it.")
    trainer = prepare(suite, recipe, reward, options)
    for step in run_steps(trainer, STEPS[objective], options.seed, out.with_name(out.name + ".csv")):
        if step == recipe.steps:
            save(trainer.model.networks[TUNED].module, out, facts)
        elif step % recipe.save_every == 0:
            save(trainer.model.networks[TUNED].module, out.with_name(f"{out.name}-step{step}"), {**facts, "step": step})
    return out


def check_recipe(recipe: TrainRecipe, suite: Suite) -> None:
    """UsageError if a step of the recipe is not one of the sampler's."""
    total = suite.sampler.steps
    for what, step in (
        ("start_step", recipe.start_step),
        ("grad_steps", recipe.grad_steps[1]),
        ("last_steps", recipe.last_steps),
    ):
        if not 0 <= step <= total - (what != "last_steps"):
            raise UsageError(
                f"{what} {step} is outside the {total} steps of suite '{suite.name}': set sampler.steps to 40."
            )


def prepare(suite: Suite, recipe: TrainRecipe, reward: str | None, options: TrainOptions) -> Trainer:
    """Load the model, a trainable copy of its network, the reward and the data."""
    import metrics
    from bench import weights
    from bench.devices import prepare_torch
    from bench.models import load_model

    device = prepare_torch(options.device)
    model: Any = load_model(weights.resolve(suite.model.weights), suite, device)
    if options.init is None:
        model.networks[TUNED] = Network(copy.deepcopy(model.unet))
    else:
        model.add_network(TUNED, weights.resolve(options.init))
    model.networks[TUNED].module.train().requires_grad_(True)
    scorer = None
    if reward is not None:
        spec = suite.metrics.get(reward)
        source = str(weights.resolve(spec.weights)) if spec and spec.weights else None
        scorer = metrics.load(reward, weights=source, device=device)
        if not hasattr(scorer, "score_pixels"):
            raise UsageError(
                f"metric '{reward}' has no gradient: train on one of pickscore, hpsv2, hpsv2.1, image_reward."
            )
    return Trainer(model, model.new_scheduler(), scorer, data_for(suite), recipe, suite)


def run_steps(trainer: Trainer, loss_of: StepLoss, seed: int, log_path: Path) -> Iterator[int]:
    """Make the updates; yields the number made so far after each. Raises BenchError when the loss is not finite."""
    module = trainer.model.networks[TUNED].module
    recipe = trainer.recipe
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log_path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "loss", "reward", "gradient_norm", "seconds"])
        for step in range(1, recipe.steps + 1):
            rng = np.random.default_rng([seed, step])
            loss, rewards = loss_of(trainer, rng, torch.Generator().manual_seed(int(rng.integers(2**62))))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip))
            if not math.isfinite(norm):
                raise BenchError(
                    f"training stopped at step {step}: the gradient is not finite; the last checkpoint is kept."
                )
            optimiser.step()
            reward = "" if rewards is None else f"{rewards.mean().item():.5f}"
            rows.writerow([step, f"{loss.item():.6g}", reward, f"{norm:.6g}", f"{time.monotonic() - began:.1f}"])
            if step % 20 == 0 or step == recipe.steps:
                file.flush()
                log.note(f"step {step}/{recipe.steps}  loss {loss.item():.5g}  reward {reward or '-'}")
            yield step


def save(module: Any, out: Path, facts: dict[str, Any]) -> None:
    """Write a UNet folder whole under another name, then put it in place; the facts are written last."""
    partial = out.with_name(out.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        module.save_pretrained(partial)
        (partial / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
        if out.exists():
            old = out.with_name(out.name + ".old")
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
            partial.rename(out)
            shutil.rmtree(old)
        else:
            partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MissingError(
            f"the checkpoint {out} cannot be written ({error.strerror or error}): free space or choose another --out."
        ) from error


def _written(out: Path) -> Any:
    try:
        return json.loads((out / "training.json").read_text())
    except (OSError, ValueError):
        return None
