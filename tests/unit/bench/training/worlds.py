"""Small models of each kind for the training's tests, and rewards that anybody can differentiate."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from bench.models.base import BASE, Conditioning, Network
from bench.models.sd import StableDiffusion
from bench.training.data import ShapesData
from bench.training.recipes import TrainRecipe
from bench.training.rollout import TUNED
from bench.training.steps import Draws, Trainer
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite

STEPS = 8
RECIPE = TrainRecipe(
    steps=2, learning_rate=1e-3, batch_size=2, start_step=5, grad_steps=(6, 6), last_steps=2, diffusion_weight=0.5
)


class Brightness:
    """Mean red minus mean blue, and image embeddings: the pixels at a few places."""

    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        assert len(prompts) == len(pixels)
        return brightness(pixels)

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        return pixels * 2 - 1

    def encode_images(self, inputs: Tensor) -> Tensor:
        return inputs[..., ::4, ::4].flatten(1)


def brightness(pixels: Tensor) -> Tensor:
    return (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2))


class SmallShapes(ShapesData):
    """Pictures of 32 x 32 pixels."""

    def pictures(self, count: int, rng: np.random.Generator, number: int = 1) -> tuple[Tensor, list[str]]:
        images, captions = super().pictures(count, rng, number)
        return images[..., ::2, ::2].contiguous(), captions


class TinyFlowNet(nn.Module):
    """A velocity network of a few weights: a convolution, modulated by time and text."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.inner = nn.Conv2d(4, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, 4, 3, padding=1)
        self.text = nn.Linear(5, 6)
        self.time = nn.Linear(1, 6)

    def forward(self, latents: Tensor, t: Tensor, text: Tensor) -> Tensor:
        time = t.float().reshape(-1, 1).expand(len(latents), 1) / 1000
        hidden = self.inner(latents) + (self.text(text) + self.time(time))[:, :, None, None]
        return self.outer(torch.tanh(hidden))


class TinyFlow:
    """A flow-matching model: FlowMatchEulerDiscreteScheduler, latents that are pixels averaged over 4 x 4."""

    latents_shape = (4, 8, 8)

    def __init__(self, suite: Any = None) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.networks = {BASE: Network(TinyFlowNet())}
        self.vae = None

    def forget(self, most: int = 1024) -> None:
        pass

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        def state(text: str) -> Tensor:
            return torch.tensor([len(text) % 7, text.count("a"), text.count("e"), text.count("r"), 1.0]) / 7

        with torch.inference_mode():
            return Conditioning({"text": torch.stack([state(text) for text in prompts])}, {"text": state("")[None]})

    def new_scheduler(self) -> Any:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        scheduler.set_timesteps(STEPS)
        return scheduler

    def predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        found: Tensor = self.networks[network].module(latents, torch.as_tensor(t), cond.states["text"])
        return found

    def encode_pixels(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        small = nn.functional.avg_pool2d(pixels, 4)
        return torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)

    def decode_pixels(self, latents: Tensor) -> Tensor:
        return nn.functional.interpolate(latents[:, :3] / 8 + 0.5, scale_factor=4)


def sd_trainer(folder: Path, kind: str, scheduler: str = "DDPMScheduler", recipe: TrainRecipe = RECIPE) -> Trainer:
    """A tiny Stable Diffusion of this prediction type."""
    suite = tiny_suite(scheduler, STEPS)
    model = StableDiffusion.load(tiny_pipeline(folder / kind, kind), suite)
    return _trainer(model, suite, recipe)


def flow_trainer(recipe: TrainRecipe = RECIPE) -> Trainer:
    """The tiny flow-matching model."""
    return _trainer(TinyFlow(), tiny_suite("FlowMatchEulerDiscreteScheduler", STEPS), recipe)


def _trainer(model: Any, suite: Any, recipe: TrainRecipe) -> Trainer:
    tuned = copy.deepcopy(model.networks[BASE].module)
    with torch.no_grad():  # away from the base network, so that the distance to it has a gradient
        generator = torch.Generator().manual_seed(9)
        for parameter in tuned.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    model.networks[TUNED] = Network(tuned.requires_grad_(True))
    return Trainer(model, Brightness(), SmallShapes(), recipe, suite, clip=Brightness())


def draws(number: int = 1) -> Draws:
    return Draws(np.random.default_rng(7), torch.Generator().manual_seed(8), number)


def gradient(trainer: Trainer, loss: Tensor) -> Tensor:
    """All gradients of the network in training, as one vector."""
    module = trainer.model.networks[TUNED].module
    module.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def relative_error(found: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|."""
    return float((found - expected).norm() / expected.norm())
