"""A bank of pictures, clean and damaged, and pairs of them with a caption and an annotator's choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from bench.shapes.annotator import Pool
from bench.shapes.build.data import pictures, to_signed
from bench.shapes.build.parallel import Worker
from bench.shapes.captions import ATTRIBUTES, VALUES, caption, random_named
from bench.shapes.world import RADIUS_RANGE, RESOLUTION, Scene

UNNAMED = -1
SIZES = {"train": 10_000, "test": 2_000}
SEEDS = {"train": 61, "test": 62}


@dataclass(frozen=True, slots=True)
class Bank:
    """Pictures and what they show: `images` uint8 [N, 3, 64, 64], `classes` [N, 5], `measures` [N, 5] in [0, 1]."""

    scenes: list[Scene]
    images: Tensor
    flaws: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    classes: Tensor
    measures: Tensor


def bank(work: Path, part: str) -> Bank:
    """The "train" or "test" bank; drawn once with the autoencoder in `work`, then read from there."""
    rng = np.random.default_rng(SEEDS[part])
    scenes, images = pictures(SIZES[part], rng)
    path = work / f"bank-{part}.npz"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        shown, flaws = spoil(vae, images, rng)
        np.savez(path, images=shown.numpy(), flaws=flaws)
    with np.load(path) as kept:
        shown, flaws = torch.from_numpy(kept["images"]), kept["flaws"]
    classes = torch.tensor([[_class(a, s.attributes()[a]) for a in ATTRIBUTES] for s in scenes])
    measures = torch.tensor([_measures(s, float(f)) for s, f in zip(scenes, flaws, strict=True)])
    return Bank(scenes, shown, flaws, classes, measures)


def draw_banks(_: Worker, work: Path) -> None:
    """Draw both banks now, so that trainings that start together find them."""
    for part in SIZES:
        bank(work, part)


@torch.no_grad()
def spoil(
    vae: AutoencoderKL, images: Tensor, rng: np.random.Generator
) -> tuple[Tensor, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Leave a third as rendered, send a third through the autoencoder, and damage a third on that way.

    `images` uint8 [N, 3, 64, 64] -> the same and each one's flaw in [0, 1].
    """
    out, flaws = images.clone(), np.zeros(len(images))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for rows in np.array_split(np.arange(len(images)), max(1, len(images) // 64)):
        kind = rng.random(len(rows))
        strength = np.where(kind < 2 / 3, 0.0, rng.uniform(0.1, 1.0, len(rows)))
        latents = vae.encode(to_signed(images[rows])).latent_dist.mean * vae.config.scaling_factor
        damaged = _damage(latents, torch.from_numpy(strength).float(), rng, generator)
        decoded = vae.decode(damaged / vae.config.scaling_factor).sample
        decoded = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        through = torch.from_numpy(kind >= 1 / 3)
        out[rows] = torch.where(through[:, None, None, None], decoded, images[rows])
        flaws[rows] = strength
    return out, flaws


def _damage(latents: Tensor, strength: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Noise, ghosts of another picture, or blur, in latent space, in proportion to `strength` [N]."""
    s = strength[:, None, None, None]
    noise = latents + 0.7 * s * torch.randn(latents.shape, generator=generator)
    ghost = (1 - 0.5 * s) * latents + 0.5 * s * latents.roll(1, dims=0)
    blurred = F.avg_pool2d(F.pad(latents, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    blur = (1 - s) * latents + s * blurred
    kind = torch.from_numpy(rng.integers(3, size=len(latents)))[:, None, None, None]
    return torch.where(kind == 0, noise, torch.where(kind == 1, ghost, blur))


def _class(attribute: str, value: str | None) -> int:
    return UNNAMED if value is None else VALUES[attribute].index(value)


def _measures(scene: Scene, flaw: float) -> list[float]:
    low, high = RADIUS_RANGE
    return [
        (scene.radius - low) / (high - low),
        scene.x / RESOLUTION,
        scene.y / RESOLUTION,
        scene.saturation * scene.value,
        flaw,
    ]


@dataclass(frozen=True, slots=True)
class Pairs:
    """N comparisons: `first` and `second` index the bank, `prefers_first` is an annotator's noisy choice."""

    captions: list[str]
    first: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    second: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    prefers_first: Tensor
    certain: Tensor
    """The choice of an annotator without noise."""


def draw_pairs(bank: Bank, pool: Pool, count: int, rng: np.random.Generator) -> Pairs:
    """Compare pictures for a caption that is true of the first; the second meets it in half of the cases."""
    first = rng.integers(len(bank.scenes), size=count)
    second = rng.integers(len(bank.scenes), size=count)
    classes = bank.classes.numpy()
    texts: list[str] = []
    utilities = np.zeros((2, count))
    for n in range(count):
        named = random_named(bank.scenes[first[n]], rng)
        if rng.random() < 0.5:
            wanted = [(i, classes[first[n], i]) for i, a in enumerate(ATTRIBUTES) if a in named]
            fits = np.flatnonzero(np.all([classes[:, i] == c for i, c in wanted], axis=0)) if wanted else np.arange(0)
            if len(fits):
                second[n] = fits[rng.integers(len(fits))]
        texts.append(caption(named))
        for side, index in enumerate((first[n], second[n])):
            utilities[side, n] = pool.utility(bank.scenes[index], named, bank.flaws[index])
    margin = utilities[0] - utilities[1]
    swap = rng.random(count) < 0.5  # the faithful one must not always stand first
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    margin = np.where(swap, -margin, margin)
    chosen = rng.random(count) < 1.0 / (1.0 + np.exp(-margin))
    return Pairs(texts, first, second, torch.from_numpy(chosen).float(), torch.from_numpy(margin > 0).float())
