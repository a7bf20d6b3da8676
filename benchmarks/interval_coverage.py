"""How often the 95 % intervals of means hold the truth, by simulation (about a minute on one core).

    python benchmarks/interval_coverage.py [--only TEXT] [--trials N] [--save FILE]

Each line is a world of prompts; the truth is the mean over infinitely many of them. Values are the prompts' means over
5 images unless said otherwise. Near a ceiling the values are shares in [0, 1] of several shapes, with a true mean of
0.97 or 0.99. The last lines show what goes wrong when images or pairs are taken for independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from simulate import Line, Rng, Trials, main

from bench.analysis.bounded import FEW_VARYING, Bounds, bounded_one_sided
from bench.analysis.extrapolation import block_mean
from bench.analysis.means import limits, mean_stats
from bench.analysis.ratios import ratio_interval

Draw = Callable[[Rng, tuple[int, ...]], np.ndarray]
TAIL = 0.025


def lognormal(sigma: float) -> Draw:
    """Mean 0."""
    return lambda rng, shape: np.exp(sigma * rng.normal(size=shape)) - math.exp(sigma**2 / 2)


WORLDS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, size=shape),
    "t, 2.1 degrees of freedom": lambda rng, shape: rng.standard_t(2.1, size=shape),
    "ordinal": lambda rng, shape: rng.choice([-1.0, 0, 1, 2], p=[0.2, 0.5, 0.2, 0.1], size=shape) - 0.2,
    "skewness 1 (gamma)": lambda rng, shape: rng.gamma(4, size=shape) - 4,
    "skewness 2 (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewness 2 (lognormal 0.55)": lognormal(0.55),
    "lognormal(1)": lognormal(1.0),
    "lognormal(1.2)": lognormal(1.2),
}


def covers(values: np.ndarray, truth: float) -> np.ndarray:
    """Whether each interval over the last axis holds the truth."""
    low, high = limits(mean_stats(values))
    return (low <= truth) & (truth <= high)


def mean_line(name: str, prompts: int, low: float, high: float) -> Line:
    """Coverage of the mean of independent prompts."""
    return Line(f"mean, {name}, {prompts} prompts", lambda r, n: covers(WORLDS[name](r, (n, prompts)), 0.0), low, high)


def images(rng: Rng, trials: int, prompts: int) -> np.ndarray:
    """Scores [trials, prompts, 5] with an effect of the prompt."""
    return rng.normal(size=(trials, prompts, 1)) + rng.normal(size=(trials, prompts, 5))


def unequal(rng: Rng, trials: int, prompts: int) -> np.ndarray:
    """Prompts with 1 to 5 images each: the ratio estimator of the mean over images."""
    from bench.analysis.means import ratio_stats

    found = []
    for _ in range(trials):
        counts = rng.integers(1, 6, size=prompts)
        sums = counts * rng.normal(size=prompts) + np.sqrt(counts) * rng.normal(size=prompts)
        low, high = limits(ratio_stats(sums, counts))
        found.append(low <= 0 <= high)
    return np.array(found)


def distances(rng: Rng, trials: int, prompts: int, samples: int) -> np.ndarray:
    """Pairwise distances [trials, prompts, pairs] of images in one dimension; their mean is 2 / sqrt(pi)."""
    spread = rng.gamma(4, 0.25, size=(trials, prompts, 1))
    pictures = rng.normal(size=(trials, prompts, samples)) * spread
    i, j = np.triu_indices(samples, 1)
    return np.abs(pictures[..., i] - pictures[..., j])


def binomial(concentration: float) -> Callable[[Rng, tuple[int, int], float], np.ndarray]:
    """Share of 5 images that are right, with a chance of the prompt's own."""
    c = concentration
    return lambda rng, shape, mean: rng.binomial(5, rng.beta(mean * c, (1 - mean) * c, shape)) / 5


CEILINGS: dict[str, Callable[[Rng, tuple[int, int], float], np.ndarray]] = {
    "whole prompts fail": lambda rng, shape, mean: (rng.random(shape) < mean).astype(float),
    "images fail, prompts differ much": binomial(1),
    "images fail, prompts differ": binomial(5),
    "images fail, prompts alike": binomial(50),
    "half of some prompts": lambda rng, shape, mean: np.where(rng.random(shape) < 2 * (1 - mean), 0.5, 1.0),
    "shares of 20": lambda rng, shape, mean: rng.binomial(20, mean, shape) / 20,
}


def ceiling_line(shape: str, mean: float, prompts: int) -> Line:
    """Coverage near the upper end of [0, 1]; which limits are taken is decided as in `bench.analysis.intervals`."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        values = CEILINGS[shape](rng, (trials, prompts), mean)
        few = (values < 1).sum(axis=1) < FEW_VARYING
        held = np.empty(trials, dtype=bool)
        held[~few] = covers(values[~few], mean) if (~few).any() else True
        for i in np.flatnonzero(few):
            tails = bounded_one_sided(values[i], np.ones(prompts), Bounds(0, 1), mean)
            held[i] = min(tails) >= TAIL
        return held

    return Line(f"accuracy {mean}, {shape}, {prompts} prompts", draw, 0.93, 1.0, 1000, 500)


def frechet(pictures: np.ndarray) -> float:
    """Squared mean plus squared difference of the standard deviation to 1."""
    return float(pictures.mean() ** 2 + (pictures.std(ddof=1) - 1) ** 2)


def set_line(prompts: int, blocks: int) -> Line:
    """A Frechet distance in one dimension, by the jackknife over blocks of prompts."""
    truth = 1 + (math.sqrt(2) - 1) ** 2

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            pictures = 1 + rng.normal(size=prompts)[:, None] + rng.normal(size=(prompts, 5))
            block = np.arange(prompts) * blocks // prompts
            left_out = [frechet(pictures[block != b]) for b in range(blocks)]
            one = block_mean(frechet(pictures), left_out, pictures.size, extrapolate=True).interval()
            found.append(one.low <= truth <= one.high)
        return np.array(found)

    return Line(f"set metric, jackknife of {blocks} blocks, {prompts} prompts", draw, 0.93, 0.97, 1000, 500)


def price_line(prompts: int) -> Line:
    """Diversity lost per unit of reward gained: Fieller's interval; prompts share an effect, own parts are skewed."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        own = 0.5 * (rng.exponential(size=(trials, prompts, 2, 2)) - 1)
        change = own[..., 1, :] - own[..., 0, :] + np.array([2.0, 1.5])
        found = [ratio_interval(one[:, 1], one[:, 0]) for one in change]
        return np.array([one.low <= 0.75 <= one.high for one in found])

    return Line(f"price of a unit of reward, {prompts} prompts", draw, 0.93, 0.97, 1000, 500)


def lines() -> list[Line]:
    """All lines, those with a promise first."""
    fair = [name for name in WORLDS if "lognormal(" not in name]
    made = [mean_line(name, prompts, 0.93, 0.97) for name in fair for prompts in (32, 100, 400)]
    made += [mean_line("lognormal(1.2)", p, low, 1.0) for p, low in ((32, 0.90), (100, 0.90), (400, 0.92))]
    for p in (32, 100):
        made.append(Line(f"mean, unequal samples, {p} prompts", lambda r, n, p=p: unequal(r, n, p), 0.93, 0.97, 2000))
        made.append(
            Line(f"mean, 5 images, {p} prompts", lambda r, n, p=p: covers(images(r, n, p).mean(-1), 0.0), 0.93, 0.97)
        )
        pairs = 2 / math.sqrt(math.pi)
        draw: Trials = lambda r, n, p=p, t=pairs: covers(distances(r, n, p, 5).mean(-1), t)  # noqa: E731
        made.append(Line(f"mean pairwise distance of 5, {p} prompts", draw, 0.93, 0.97))
    made += [ceiling_line(shape, mean, p) for shape in CEILINGS for mean in (0.97, 0.99) for p in (32, 100)]
    made += [set_line(60, 20), set_line(200, 20), set_line(200, 10), price_line(32), price_line(100)]
    made += [mean_line(name, p, 0.90, 0.98) for name in fair for p in (5, 8, 12)]
    made += [
        Line(
            "wrong: images as samples, 32 prompts", lambda r, n: covers(images(r, n, 32).reshape(n, -1), 0.0), 0, 0.85
        ),
        Line(
            "wrong: pairs as samples, 32 prompts",
            lambda r, n: covers(distances(r, n, 32, 5).reshape(n, -1), 2 / math.sqrt(math.pi)),
            0,
            0.85,
        ),
    ]
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "coverage")
