"""How often two methods of equal true FID, or KID, are marked as different: one is more diverse, one is nearer.

    python benchmarks/equal_fid.py [--only TEXT] [--trials N] [--save FILE]

Features have a power-law spectrum, prompts share effects (60 % of the variance is the prompt's), 5 images a prompt, the
jackknife has 20 blocks of whole prompts. Method A is shifted from the reference, B has 0.8 of its spread; both have the
same true Frechet distance. A: "as measured" is what is printed on N images; "extrapolated" is what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.extrapolation import block_mean

SAMPLES, SHARE, SPREAD, BLOCKS = 5, 0.6, 0.8, 20


@dataclass(frozen=True)
class Features:
    """A reference with a diagonal covariance, and two methods of the same true distance to it."""

    size: int

    @property
    def scale(self) -> np.ndarray:
        """Standard deviations [D] of the reference."""
        variance = 1 / np.arange(1, self.size + 1.0)
        return np.sqrt(variance * self.size / variance.sum())

    @property
    def truth(self) -> float:
        """The true Frechet distance of both methods."""
        return float(((1 - SPREAD) ** 2 * self.scale**2).sum())

    def draw(self, rng: Rng, prompts: int) -> tuple[np.ndarray, np.ndarray]:
        """Features [prompts, samples, D] of both, sharing prompts and most of their noise."""
        shape = (prompts, SAMPLES, self.size)
        prompt, noise = rng.normal(size=(prompts, 1, self.size)), rng.normal(size=shape)
        other = 0.9 * noise + np.sqrt(1 - 0.81) * rng.normal(size=shape)
        shift = np.zeros(self.size)
        shift[3] = np.sqrt(self.truth)
        a = shift + self.scale * (np.sqrt(SHARE) * prompt + np.sqrt(1 - SHARE) * noise)
        b = SPREAD * self.scale * (np.sqrt(SHARE) * prompt + np.sqrt(1 - SHARE) * other)
        return a, b


def frechet(parts: Sequence[tuple[int, np.ndarray, np.ndarray]], scale: np.ndarray) -> float:
    """Distance to the reference N(0, scale^2), of moments (n, sum, sum of products) of some blocks."""
    n = sum(part[0] for part in parts)
    total, products = sum(part[1] for part in parts), sum(part[2] for part in parts)
    mean = total / n
    covariance = (products - n * np.outer(mean, mean)) / (n - 1)
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(scale[:, None] * covariance * scale[None]), 0, None))
    return float(mean @ mean + np.trace(covariance) + (scale**2).sum() - 2 * roots.sum())


def kid_values(features: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
    """KID and its values with a block left out (Binkowski et al. 2018: unbiased, cubic polynomial kernel)."""
    x, where = features.reshape(-1, features.shape[-1]), np.repeat(blocks_of(len(features)), SAMPLES)
    size, m = x.shape[1], len(reference)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / size + 1) ** 3

    member = np.eye(BLOCKS)[where]  # [N, blocks]
    own, across, theirs = kernel(x, x), kernel(x, reference).sum(axis=1), kernel(reference, reference)
    constant = (theirs.sum() - np.trace(theirs)) / (m * (m - 1))

    def value(kept: np.ndarray) -> np.ndarray:  # [N, sets] of 0 and 1
        n = kept.sum(axis=0)
        within = ((own @ kept) * kept).sum(axis=0) - np.diag(own) @ kept
        return within / (n * (n - 1)) - 2 * (across @ kept) / (n * m) + constant

    return float(value(np.ones((len(x), 1)))[0]), value(1 - member)


def blocks_of(prompts: int) -> np.ndarray:
    """The block of each prompt."""
    return np.arange(prompts) * BLOCKS // prompts


def fid_values(features: np.ndarray, scale: np.ndarray) -> tuple[float, np.ndarray]:
    """The distance and those with a block left out."""
    where = blocks_of(len(features))
    parts = []
    for block in range(BLOCKS):
        x = features[where == block].reshape(-1, features.shape[-1])
        parts.append((len(x), x.sum(axis=0), x.T @ x))
    left_out = [frechet([*parts[:b], *parts[b + 1 :]], scale) for b in range(BLOCKS)]
    return frechet(parts, scale), np.array(left_out)


def fid_line(size: int, prompts: int, *, extrapolate: bool, low: float, high: float) -> Line:
    """Share of experiments in which the two methods are marked as different."""
    world = Features(size)

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            (a, left_a), (b, left_b) = (fid_values(one, world.scale) for one in world.draw(rng, prompts))
            found.append(block_mean(b - a, left_b - left_a, 1, extrapolate=extrapolate).interval().excludes_zero)
        return np.array(found)

    how = "extrapolated" if extrapolate else "as measured"
    images = prompts * SAMPLES
    return Line(f"equal FID {how}, D = {size}, N = {images} = {images / size:.0f} D", draw, low, high, 1000, 100)


def value_line(size: int, prompts: int) -> Line:
    """Share of extrapolated intervals of A that hold the true FID."""
    world = Features(size)

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            whole, left_out = fid_values(world.draw(rng, prompts)[0], world.scale)
            one = block_mean(whole, left_out, 1, extrapolate=True).interval()
            found.append(one.low <= world.truth <= one.high)
        return np.array(found)

    return Line(f"true FID held, D = {size}, N = {prompts * SAMPLES}", draw, 0.92, 0.98, 1000, 100)


def kid_line(size: int, prompts: int) -> Line:
    """Two draws of one distribution that share prompts: their KID is equal at any N."""
    world = Features(size)

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        reference = world.scale * rng.normal(size=(400, size))
        for _ in range(trials):
            prompt = rng.normal(size=(prompts, 1, size))
            both = []
            for _ in range(2):
                x = world.scale * (0.77 * prompt + 0.63 * rng.normal(size=(prompts, SAMPLES, size)))
                both.append(kid_values(x, reference))
            (a, left_a), (b, left_b) = both
            found.append(block_mean(b - a, left_b - left_a, 1).interval().excludes_zero)
        return np.array(found)

    return Line(f"equal KID, D = {size}, N = {prompts * SAMPLES}", draw, 0.0, 0.05, 1000, 100)


def lines() -> list[Line]:
    """What may be marked first; then what is not, and why."""
    made = [fid_line(16, prompts, extrapolate=True, low=0.0, high=0.08) for prompts in (26, 52, 104)]
    made += [fid_line(32, prompts, extrapolate=True, low=0.0, high=0.08) for prompts in (26, 52)]
    made += [value_line(16, 26), value_line(16, 104), kid_line(16, 40), kid_line(64, 40)]
    made += [fid_line(64, 32, extrapolate=False, low=0.3, high=1.0)]  # wrong: what used to be marked
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "rate")
