"""How often two methods of equal true FID, or KID, are marked as different: one is more diverse, one is nearer.

    python benchmarks/equal_fid.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

Features have a power-law spectrum, prompts share effects (60 % of the variance is the prompt's), 5 images a prompt, the
jackknife has 20 blocks of whole prompts. Method A is shifted from the reference, B has 0.8 of its spread; both have the
same true Frechet distance ("unequal": B has half the spread). FID is extrapolated, as it is compared; "as measured" is
what is printed on N images. Of KID both are of one distribution ("unequal": the second has half the spread).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from simulate import Line, Rng, Trials, cell, main

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
        return np.asarray(np.sqrt(variance * self.size / variance.sum()))

    @property
    def truth(self) -> float:
        """The true Frechet distance of both methods."""
        return float(((1 - SPREAD) ** 2 * self.scale**2).sum())

    def draw(self, rng: Rng, prompts: int, spread: float = SPREAD) -> tuple[np.ndarray, np.ndarray]:
        """Features [prompts, samples, D] of both, sharing prompts and most of their noise; B has `spread`."""
        shape = (prompts, SAMPLES, self.size)
        prompt, noise = rng.normal(size=(prompts, 1, self.size)), rng.normal(size=shape)
        other = 0.9 * noise + np.sqrt(1 - 0.81) * rng.normal(size=shape)
        shift = np.zeros(self.size)
        shift[3] = np.sqrt(self.truth)
        a = shift + self.scale * (np.sqrt(SHARE) * prompt + np.sqrt(1 - SHARE) * noise)
        b = spread * self.scale * (np.sqrt(SHARE) * prompt + np.sqrt(1 - SHARE) * other)
        return a, b


def frechet(parts: Sequence[tuple[int, np.ndarray, np.ndarray]], scale: np.ndarray) -> float:
    """Distance to the reference N(0, scale^2), of moments (n, sum, sum of products) of some blocks."""
    n = sum(part[0] for part in parts)
    total, products = (np.sum([np.asarray(part[k]) for part in parts], axis=0) for k in (1, 2))
    mean = total / n
    covariance = (products - n * np.outer(mean, mean)) / (n - 1)
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(scale[:, None] * covariance * scale[None]), 0, None))
    return float(mean @ mean + np.trace(covariance) + (scale**2).sum() - 2 * roots.sum())


def kid_values(features: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
    """KID and its values with a block left out (Binkowski et al. 2018: unbiased, cubic polynomial kernel)."""
    x, where = features.reshape(-1, features.shape[-1]), np.repeat(blocks_of(len(features)), SAMPLES)
    size, m = x.shape[1], len(reference)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / size + 1) ** 3)

    member = np.eye(BLOCKS)[where]  # [N, blocks]
    own, across, theirs = kernel(x, x), kernel(x, reference).sum(axis=1), kernel(reference, reference)
    constant = (theirs.sum() - np.trace(theirs)) / (m * (m - 1))

    def value(kept: np.ndarray) -> np.ndarray:  # [N, sets] of 0 and 1
        n = kept.sum(axis=0)
        within = ((own @ kept) * kept).sum(axis=0) - np.diag(own) @ kept
        return np.asarray(within / (n * (n - 1)) - 2 * (across @ kept) / (n * m) + constant)

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


def fid(size: int, prompts: int, spread: float = SPREAD, *, extrapolate: bool = True) -> Trials:
    """Whether the two methods are marked as different; those of `spread` 0.8 are equal."""
    world = Features(size)

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = []
        for _ in range(count):
            (a, left_a), (b, left_b) = (fid_values(one, world.scale) for one in world.draw(rng, prompts, spread))
            found.append(block_mean(b - a, left_b - left_a, 1, extrapolate=extrapolate).interval().excludes_zero)
        return np.array(found)

    return trials


def true_fid(size: int, prompts: int) -> Trials:
    """Whether the extrapolated interval of A holds the true FID."""
    world = Features(size)

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = []
        for _ in range(count):
            whole, left_out = fid_values(world.draw(rng, prompts)[0], world.scale)
            one = block_mean(whole, left_out, 1, extrapolate=True).interval()
            found.append(one.low <= world.truth <= one.high)
        return np.array(found)

    return trials


def kid(size: int, prompts: int, spread: float = 1.0) -> Trials:
    """Whether two draws that share prompts are marked; the second has `spread`, and with 1 they are equal at any N."""
    world = Features(size)

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = []
        reference = world.scale * rng.normal(size=(400, size))
        for _ in range(count):
            prompt = rng.normal(size=(prompts, 1, size))
            both = []
            for scale in (world.scale, spread * world.scale):
                x = scale * (0.77 * prompt + 0.63 * rng.normal(size=(prompts, SAMPLES, size)))
                both.append(kid_values(x, reference))
            (a, left_a), (b, left_b) = both
            found.append(block_mean(b - a, left_b - left_a, 1).interval().excludes_zero)
        return np.array(found)

    return trials


def lines() -> list[Line]:
    """What may be marked, with its power beside it; then what is not, and why."""
    made = []
    for size, sizes in ((16, (26, 52, 104)), (32, (26, 52)), (64, (52, 104))):
        for prompts in sizes:
            images = prompts * SAMPLES
            row, group = f"FID, D = {size}, N = {images} ({images / size:.0f} D)", "two methods, marked"
            more = {"trials": 400 if size == 64 else 1000, "part": 200}
            made.append(cell(group, row, "equal", fid(size, prompts), 0.0, 0.08, **more))
            made.append(cell(group, row, "unequal", fid(size, prompts, 0.5), 0.0, 1.0, **more))
    for size, prompts in ((16, 40), (64, 40), (64, 100)):
        row = f"KID, D = {size}, N = {prompts * SAMPLES}"
        more = {"trials": 1000 if prompts == 40 else 400, "part": 200}
        made.append(cell(group, row, "equal", kid(size, prompts), 0.0, 0.05, **more))
        made.append(cell(group, row, "unequal", kid(size, prompts, 0.5), 0.0, 1.0, **more))
    wrong = fid(64, 32, extrapolate=False)  # what used to be marked
    made.append(cell(group, "wrong: FID as measured, D = 64, N = 160 (2 D)", "equal", wrong, 0.3, 1.0, **more))
    for size, prompts in ((16, 26), (16, 104)):
        row, more = f"D = {size}, N = {prompts * SAMPLES}", {"trials": 1000, "part": 250}
        made.append(cell("true FID held by the interval", row, "rate", true_fid(size, prompts), 0.92, 0.98, **more))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
