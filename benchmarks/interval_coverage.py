"""How often the 95 % intervals of means hold the truth, by simulation (about two minutes on one core).

    python benchmarks/interval_coverage.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

Each line is a world of prompts; the truth is the mean over infinitely many of them. Values are the prompts' means over
5 images unless said otherwise. Near a ceiling the values are shares in [0, 1] of several shapes, with a true mean of
0.97 or 0.99; the width is against Hall's interval alone, for trials with at least 8 prompts off the bound. The last
table shows what goes wrong when images or pairs are taken for independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from simulate import Line, Rng, cell, main
from worlds import FAIR, WORLDS

from bench.analysis.bounded import FEW_VARYING, Bounds
from bench.analysis.estimand import Units
from bench.analysis.extrapolation import block_mean
from bench.analysis.intervals import cluster_mean
from bench.analysis.means import SKEW_FACTOR, limits, mean_stats
from bench.analysis.ratios import ratio_interval

UNIT = Bounds(0.0, 1.0)
PAIRS = 2 / math.sqrt(math.pi)  # mean distance of two standard normal values


def covers(values: np.ndarray, truth: float) -> np.ndarray:
    """Whether each interval over the last axis holds the truth."""
    low, high = limits(mean_stats(values))
    return (low <= truth) & (truth <= high)


def images(rng: Rng, trials: int, prompts: int) -> np.ndarray:
    """Scores [trials, prompts, 5] with an effect of the prompt."""
    return rng.normal(size=(trials, prompts, 1)) + rng.normal(size=(trials, prompts, 5))


def held(values: np.ndarray, clusters: np.ndarray, truth: float) -> bool:
    """Whether the interval of a metric's mean does, from values by prompt and sample [P, K], NaN for those unscored."""
    found = Units(tuple(map(str, range(len(values)))), values, clusters).mean().interval()
    return found.low <= truth <= found.high


def unequal(rng: Rng, prompts: int) -> bool:
    """Prompts of which 1 to 5 images are scored."""
    values = images(rng, 1, prompts)[0]
    values[np.arange(5) >= rng.integers(1, 6, size=prompts)[:, None]] = np.nan
    return held(values, np.arange(prompts), 0.0)


def repeated(rng: Rng, prompts: int) -> bool:
    """A quarter as many texts as prompts, most once, some many times; the images of a text are alike."""
    texts = prompts // 2
    of = np.concatenate([np.arange(texts), rng.choice(texts, size=prompts - texts, p=_skewed(texts))])
    values = rng.normal(size=texts)[of][:, None] + 0.5 * rng.normal(size=(prompts, 5))
    return held(values, of, 0.0)


def _skewed(texts: int) -> np.ndarray:
    weights = 1 / np.arange(1, texts + 1.0)
    return np.asarray(weights / weights.sum())


def one_by_one(draw: Callable[[Rng, int], bool], prompts: int) -> Callable[[Rng, int], np.ndarray]:
    """Trials of a world that is drawn one at a time."""
    return lambda rng, trials: np.array([draw(rng, prompts) for _ in range(trials)])


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
    "beta(2, .), never 1": lambda rng, shape, mean: rng.beta(2 * mean / (1 - mean), 2, shape),
}


def ceiling(shape: str, mean: float, prompts: int, *, width: bool) -> Callable[[Rng, int], np.ndarray]:
    """Coverage near the upper end of [0, 1], or the width as a multiple of Hall's."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        made = np.empty(trials)
        for i, values in enumerate(CEILINGS[shape](rng, (trials, prompts), mean)):
            found = cluster_mean(values, np.arange(prompts), UNIT)
            if not width:
                made[i] = found.p(mean) >= 0.05  # exactly where the interval holds it
            elif int((values < 1).sum()) < FEW_VARYING:
                made[i] = np.nan
            else:
                limit = found.interval()
                made[i] = (limit.high - limit.low) / halls_width(values)
        return made

    return draw


def halls_width(values: np.ndarray) -> float:
    """Of Hall's interval (1992, g2) with the plain sample skewness and Student's quantiles, cut to [0, 1]."""
    from scipy.special import stdtrit

    stats = mean_stats(values)
    k, t = float(stats.skew) / SKEW_FACTOR, float(stdtrit(stats.clusters - 1, 0.975))
    turned = [3 / k * (np.cbrt(1 + k * (x - k / 6)) - 1) if abs(k) > 1e-9 else x for x in (-t, t)]
    high, low = (float(stats.mean - stats.error * x) for x in turned)
    return min(high, 1.0) - max(low, 0.0)


def frechet(pictures: np.ndarray) -> float:
    """Squared mean plus squared difference of the standard deviation to 1."""
    return float(pictures.mean() ** 2 + (pictures.std(ddof=1) - 1) ** 2)


def set_metric(prompts: int, blocks: int) -> Callable[[Rng, int], np.ndarray]:
    """A Frechet distance in one dimension, by the jackknife over blocks of prompts."""
    truth = 1 + (math.sqrt(2) - 1) ** 2

    def draw(rng: Rng, _: int) -> bool:
        pictures = 1 + rng.normal(size=prompts)[:, None] + rng.normal(size=(prompts, 5))
        block = np.arange(prompts) * blocks // prompts
        left_out = [frechet(pictures[block != b]) for b in range(blocks)]
        one = block_mean(frechet(pictures), left_out, pictures.size, extrapolate=True).interval()
        return one.low <= truth <= one.high

    return one_by_one(draw, prompts)


def price(rng: Rng, prompts: int) -> bool:
    """Diversity lost per unit of reward gained: Fieller's interval; prompts share an effect, own parts are skewed."""
    own = 0.5 * (rng.exponential(size=(prompts, 2, 2)) - 1)
    change = own[:, 1] - own[:, 0] + np.array([2.0, 1.5])
    one = ratio_interval(change[:, 1], change[:, 0])
    return one.low <= 0.75 <= one.high


def mean_lines() -> list[Line]:
    """Means of independent prompts."""

    def line(name: str, prompts: int, low: float, high: float, group: str = "coverage of a mean") -> Line:
        draw = lambda rng, n: covers(WORLDS[name](rng, (n, prompts)), 0.0)  # noqa: E731
        return cell(group, name, f"{prompts} prompts", draw, low, high)

    made = [line(name, p, 0.93, 0.97) for name in FAIR for p in (32, 100, 400)]
    made += [line(name, p, low, 1.0) for name in ("lognormal(1)", "lognormal(1.2)") for p, low in LOGNORMAL]
    for p in (32, 100, 400):
        size, group = f"{p} prompts", "coverage of a mean"
        for name, world in (("1 to 5 images scored", unequal), ("half as many texts as prompts", repeated)):
            made.append(cell(group, name, size, one_by_one(world, p), 0.93, 0.97, trials=2000))
        draw = lambda rng, n, p=p: covers(images(rng, n, p).mean(-1), 0.0)  # noqa: E731
        made.append(cell(group, "5 images a prompt", size, draw, 0.93, 0.97))
        draw = lambda rng, n, p=p: covers(distances(rng, n, p, 5).mean(-1), PAIRS)  # noqa: E731
        made.append(cell(group, "mean pairwise distance of 5 images", size, draw, 0.93, 0.97))
    few = [line(name, p, 0.90, 0.98, "coverage, few prompts") for name in FAIR for p in (5, 8, 12)]
    return made + few


LOGNORMAL = ((32, 0.90), (100, 0.90), (400, 0.92))


def ceiling_lines() -> list[Line]:
    """Coverage of accuracies, and the widths."""
    made = []
    for mean in (0.97, 0.99):
        for shape in CEILINGS:
            for p in (32, 100, 400):
                draw = ceiling(shape, mean, p, width=False)
                row, size = f"{mean}, {shape}", f"{p} prompts"
                made.append(cell("coverage of an accuracy", row, size, draw, 0.93, 1.0, trials=1000, part=500))
            for p in (100, 400):
                draw = ceiling(shape, mean, p, width=True)
                more = {"trials": 300, "part": 150, "mean": True, "unit": "x"}
                made.append(cell("coverage of an accuracy", row, f"width / Hall's, {p}", draw, 0.0, 1.3, **more))
    return made


def other_lines() -> list[Line]:
    """What is no mean of prompts, and what would be wrong."""
    group, made = "coverage, other quantities", []
    for p, blocks in ((60, 20), (200, 20), (200, 10)):
        name = f"set metric, jackknife of {blocks} blocks"
        made.append(cell(group, name, f"{p} prompts", set_metric(p, blocks), 0.93, 0.97, trials=1000, part=500))
    for p in (32, 100):
        draw = one_by_one(price, p)
        made.append(cell(group, "price of a unit of reward", f"{p} prompts", draw, 0.93, 0.97, trials=2000, part=500))
    group = "coverage if it were done wrong"
    draw = lambda rng, n: covers(images(rng, n, 32).reshape(n, -1), 0.0)  # noqa: E731
    made.append(cell(group, "images taken for prompts", "32 prompts", draw, 0, 0.85))
    draw = lambda rng, n: covers(distances(rng, n, 32, 5).reshape(n, -1), PAIRS)  # noqa: E731
    made.append(cell(group, "pairs taken for prompts", "32 prompts", draw, 0, 0.85))
    return made


def lines() -> list[Line]:
    """All lines, those with a promise first."""
    return [*mean_lines(), *ceiling_lines(), *other_lines()]


if __name__ == "__main__":
    main(__doc__, lines(), "coverage")
