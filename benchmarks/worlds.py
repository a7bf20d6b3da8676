"""Worlds of prompts that the simulations share: differences of mean 0 whose shape is in their name.

`WORLDS` are those that promises are made for; `FAIR` of them have a skewness of at most 2. `UNTUNED` are worlds that no
constant was chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Draw = Callable[[Rng, tuple[int, ...]], np.ndarray]


def lognormal(sigma: float) -> Draw:
    """Skewness 2 at 0.55, 6 at 1, 11 at 1.2."""
    return lambda rng, shape: np.exp(sigma * rng.normal(size=shape)) - math.exp(sigma**2 / 2)


def cluster(share: float, noise: float) -> Draw:
    """Prompts of a rare kind are changed by 1, all by noise."""
    return lambda rng, shape: (rng.random(shape) < share) - share + noise * rng.normal(size=shape)


def inflated(zeros: float) -> Draw:
    """Most prompts do not change at all, the others by a skewed amount of mean 0."""
    return lambda rng, shape: (rng.random(shape) >= zeros) * (rng.exponential(size=shape) - 1)


def rare_gain(share: float) -> Draw:
    """A few prompts gain much, all others lose the same little: without the few nothing seems to vary."""
    return lambda rng, shape: (rng.random(shape) < share) * rng.exponential(size=shape) - share


def ties(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Ranks of 5 images that are mostly the same: -2 to 2 with many zeros."""
    return rng.choice([-2.0, -1, 0, 1, 2], p=[0.02, 0.08, 0.79, 0.09, 0.02], size=shape) - 0.01


def heteroscedastic(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Prompts with 1 to 5 images each, and a spread of their own (lognormal 0.7)."""
    count = rng.integers(1, 6, size=shape)
    return rng.normal(size=shape) * np.exp(0.7 * rng.normal(size=shape)) / np.sqrt(count)


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Standard."""
    return rng.normal(size=shape)


WORLDS: dict[str, Draw] = {
    "normal": normal,
    "t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, size=shape),
    "t, 2.1 degrees of freedom": lambda rng, shape: rng.standard_t(2.1, size=shape),
    "ordinal": lambda rng, shape: rng.choice([-1.0, 0, 1, 2], p=[0.2, 0.5, 0.2, 0.1], size=shape) - 0.2,
    "skewness 1 (gamma)": lambda rng, shape: rng.gamma(4, size=shape) - 4,
    "skewness 2 (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewness 2 (lognormal 0.55)": lognormal(0.55),
    "skewness 2 (inverse Gaussian)": lambda rng, shape: rng.wald(1, 2.25, size=shape) - 1,
    "lognormal(1)": lognormal(1.0),
    "lognormal(1.2)": lognormal(1.2),
}
FAIR = tuple(name for name in WORLDS if "lognormal(" not in name)

UNTUNED: dict[str, Draw] = {
    "one prompt in 3 changes by 1, noise 0.3": cluster(1 / 3, 0.3),
    "one prompt in 7 changes by 1, noise 0.3": cluster(1 / 7, 0.3),
    "one prompt in 20 changes by 1, noise 0.3": cluster(0.05, 0.3),
    "one prompt in 20 changes by 1, noise 0.1": cluster(0.05, 0.1),
    "1 to 5 images, prompts of unequal spread": heteroscedastic,
    "half of the differences zero, others exponential": inflated(0.5),
    "nine tenths of the differences zero, others exponential": inflated(0.9),
    "one prompt in 10 gains 1, all others lose 0.1": rare_gain(0.1),
    "ties: -2 to 2, 79 % zeros": ties,
    "Weibull of shape 0.8 (skewness 2.8)": lambda rng, shape: rng.weibull(0.8, size=shape) - math.gamma(1 + 1 / 0.8),
    "Pareto of index 2.5 (no skewness exists)": lambda rng, shape: rng.pareto(2.5, size=shape) - 1 / 1.5,
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "two kinds of prompts, 5 apart": lambda rng, shape: rng.choice([-2.5, 2.5], size=shape) + rng.normal(size=shape),
}


def skewness(draw: Draw) -> float:
    """Of a million values."""
    values = draw(np.random.default_rng(0), (1_000_000,))
    centred = values - values.mean()
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)
