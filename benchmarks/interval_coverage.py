"""How often the 95 % intervals hold the truth, by simulation.

    python benchmarks/interval_coverage.py [--trials N] [--n-resamples R] [--seed S] [--only TEXT]

Each line is a world: prompts with an effect of their own (between-prompt variance), K images each, scores of some
distribution around it. The truth is the mean over infinitely many prompts. Image metrics are one value an image, group
metrics the mean pairwise distance of a prompt's K images, differences are paired over two methods on the same prompts,
set metrics are a nonlinear function of all images (a Frechet distance in one dimension) with the block jackknife;
prices, readings of a sweep and differences of set metrics come of the joint bootstrap. Near the end of a sweep an
experiment may rightly make no interval: there the share of experiments that say nothing wrong is shown. The last lines
show what goes wrong when images or pairs are taken for independent samples.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.analysis.stats import Floats, Interval, clustered_bootstrap, jackknife_interval, paired_difference
from bench.analysis.tradeoff import at_equal_reward, interpolate, price
from bench.analysis.tradeoff.joint import Joint, joint_jackknife, joint_means

Rng = np.random.Generator

GOOD, FEW, EDGE, WRONG = (0.93, 0.97), (0.90, 0.97), (0.93, 1.0), (0.0, 0.85)


@dataclass(frozen=True)
class World:
    """`draw(rng)` makes one experiment and returns its interval; `truth` is what that should hold."""

    name: str
    prompts: int
    samples: int
    truth: float
    draw: Callable[[Rng, int, int, int], Interval]  # rng, prompts, samples, resamples
    expected: tuple[float, float] = GOOD  # between which shares the coverage has to lie


def clusters(prompts: int, samples: int) -> np.ndarray:
    """Prompt of each image."""
    return np.repeat(np.arange(prompts), samples)


def image_scores(kind: str) -> Callable[[Rng, int, int], Floats]:
    """Scores [prompts * samples] with mean 0 of a distribution."""

    def draw(rng: Rng, prompts: int, samples: int) -> Floats:
        if kind == "normal":
            effect, noise = rng.normal(size=prompts), rng.normal(size=prompts * samples)
        elif kind == "mostly between prompts":
            effect, noise = rng.normal(size=prompts), 0.2 * rng.normal(size=prompts * samples)
        elif kind == "skewed":  # exponential: skewness 2
            effect, noise = rng.exponential(size=prompts) - 1, rng.exponential(size=prompts * samples) - 1
        elif kind == "heavy tails":  # Student's t with 4 degrees of freedom
            effect, noise = rng.standard_t(4, size=prompts), rng.standard_t(4, size=prompts * samples)
        elif kind == "uneven spread":  # prompts differ in how much their images vary
            effect = rng.normal(size=prompts)
            noise = rng.normal(size=prompts * samples) * np.repeat(rng.gamma(2, 0.5, size=prompts), samples)
        else:  # shares in [0, 1], as accuracy: 0 or 1 with a chance of the prompt's own, beta(4, 1)
            chance = np.repeat(rng.beta(4, 1, size=prompts), samples)
            return (rng.random(prompts * samples) < chance) - 0.8
        return np.repeat(effect, samples) + noise

    return draw


def image_world(kind: str) -> Callable[[Rng, int, int, int], Interval]:
    """Interval of a mean over images."""
    scores = image_scores(kind)

    def draw(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
        return clustered_bootstrap(scores(rng, prompts, samples), clusters(prompts, samples), n_resamples, seed=0)

    return draw


def unbalanced(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """As normal, but a fifth of the images could not be scored."""
    values = image_scores("normal")(rng, prompts, samples)
    values[rng.random(values.size) < 0.2] = math.nan
    return clustered_bootstrap(values, clusters(prompts, samples), n_resamples, seed=0)


def paired_world(kind: str) -> Callable[[Rng, int, int, int], Interval]:
    """Interval of a difference of two methods that share their prompts."""
    scores = image_scores(kind)

    def draw(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
        shared = 3 * np.repeat(rng.normal(size=prompts), samples)
        a, b = shared + scores(rng, prompts, samples), shared + scores(rng, prompts, samples)
        where = clusters(prompts, samples)
        return paired_difference(a, b, where, n_resamples, seed=0).interval

    return draw


def distances(rng: Rng, prompts: int, samples: int) -> tuple[Floats, np.ndarray]:
    """Pairwise distances |x - y| [prompts * pairs] of images in one dimension, and the prompt of each pair.

    Prompts differ in spread (gamma, mean 1); the mean distance of two normal draws of spread s is 2 s / sqrt(pi).
    """
    spread = rng.gamma(4, 0.25, size=prompts)
    images = rng.normal(size=(prompts, samples)) * spread[:, None]
    i, j = np.triu_indices(samples, 1)
    pairs = np.abs(images[:, i] - images[:, j])
    return pairs.ravel(), np.repeat(np.arange(prompts), i.size)


def group_world(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Interval of a mean pairwise distance: one value per prompt (a U-statistic), prompts are drawn."""
    pairs, _ = distances(rng, prompts, samples)
    values = pairs.reshape(prompts, -1).mean(axis=1)
    return clustered_bootstrap(values, np.arange(prompts), n_resamples, seed=0)


def pairs_as_samples(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Wrong: every pair taken for an independent sample."""
    pairs, _ = distances(rng, prompts, samples)
    return clustered_bootstrap(pairs, np.arange(pairs.size), n_resamples, seed=0)


def images_redrawn(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Wrong: images drawn with replacement inside of prompts: pairs of an image with itself have distance 0."""
    spread = rng.gamma(4, 0.25, size=prompts)
    images = rng.normal(size=(prompts, samples)) * spread[:, None]
    i, j = np.triu_indices(samples, 1)
    whole = float(np.abs(images[:, i] - images[:, j]).mean())
    means = np.empty(min(n_resamples, 400))
    for number in range(means.size):
        drawn = np.take_along_axis(images, rng.integers(0, samples, size=images.shape), axis=1)[
            rng.integers(0, prompts, prompts)
        ]
        means[number] = np.abs(drawn[:, i] - drawn[:, j]).mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(whole, float(low), float(high), prompts)


def images_as_samples(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Wrong: the K images of a prompt taken for K independent samples."""
    values = image_scores("normal")(rng, prompts, samples)
    return clustered_bootstrap(values, np.arange(values.size), n_resamples, seed=0)


def set_world(blocks: int) -> Callable[[Rng, int, int, int], Interval]:
    """Interval of (mean)^2 + (sd - 1)^2 of all images, by a jackknife over blocks of prompts."""

    def draw(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
        images = (1 + rng.normal(size=prompts)[:, None] + rng.normal(size=(prompts, samples))).reshape(prompts, samples)
        block = np.arange(prompts) * blocks // prompts
        left_out = [frechet(images[block != b]) for b in range(blocks)]
        return jackknife_interval(frechet(images), left_out, images.size)

    return draw


SWEEP = np.array([(0.0, 3.0), (1.0, 2.5), (2.0, 1.5), (3.0, 0.0)])  # true reward and diversity of four settings
OTHER = np.array([1.6, 1.7])


def joint_of(rng: Rng, points: Floats, prompts: int, n_resamples: int) -> Joint:
    """Methods at true `points` [M, 2] whose prompts share an effect, and whose own part is skewed."""
    shape = (prompts, len(points), 2)
    values = points + rng.normal(size=(prompts, 1, 2)) + 0.5 * (rng.exponential(size=shape) - 1)
    means, draws = joint_means(values, np.ones(shape), n_resamples)
    return Joint(tuple(f"m{i}" for i in range(len(points))), ("x", "y"), (True, True), means, draws, prompts)


def equal_world(other: Floats) -> Callable[[Rng, int, int, int], Interval]:
    """Interval of the diversity of a sweep at another method's reward, minus that method's diversity."""

    def draw(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
        joint = joint_of(rng, np.vstack([SWEEP, other]), prompts, n_resamples)
        return at_equal_reward(joint, ["m0", "m1", "m2", "m3"], "m4", "x", "y").difference

    return draw


def equal_worlds() -> list[World]:
    """Inside of the sweep and near its end, where many experiments rightly make no interval."""
    made = []
    for at, expected in ((1.6, GOOD), (2.7, EDGE), (2.91, EDGE), (3.0, EDGE)):
        truth = float(np.interp(at, SWEEP[:, 0], SWEEP[:, 1]) - OTHER[1])
        where = "" if expected == GOOD else f", at {at / SWEEP[-1, 0]:.2f} of the sweep"
        draw = equal_world(np.array([at, OTHER[1]]))
        name = f"joint: diversity at equal reward{where}"
        made += [World(name, prompts, 1, truth, draw, expected) for prompts in (32, 100, 400)]
    return made


def selected_world(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """At the end of the sweep, the resamples that happen to reach it taken for all: percentiles of a selection."""
    while True:
        joint = joint_of(rng, np.vstack([SWEEP, [SWEEP[-1, 0], OTHER[1]]]), prompts, n_resamples)
        mean, draw = joint.means, joint.draws
        value = float(interpolate(mean[:4, 0], mean[:4, 1], mean[4, 0])) - mean[4, 1]
        draws = interpolate(draw[:, :4, 0], draw[:, :4, 1], draw[:, 4, 0]) - draw[:, 4, 1]
        finite = draws[np.isfinite(draws)]
        if math.isfinite(value) and 2 * finite.size >= n_resamples:
            low, high = np.quantile(finite, [0.025, 0.975])
            return Interval(value, float(low), float(high), prompts, 0, prompts)


def price_world(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Interval of the diversity lost per unit of reward between two methods."""
    return price(joint_of(rng, SWEEP[[0, 2]], prompts, n_resamples), "m1", "m0", "x", "y")


def set_difference_world(rng: Rng, prompts: int, samples: int, n_resamples: int) -> Interval:
    """Interval of a difference of two set metrics by the joint draws of their jackknives, 20 blocks, equal truths."""
    shared, found = rng.normal(size=(prompts, 1)), []
    block = np.arange(prompts) * 20 // prompts
    for _ in range(2):
        images = 1 + 0.8 * shared + 0.6 * rng.normal(size=(prompts, 1)) + rng.normal(size=(prompts, samples))
        whole = frechet(images)
        left_out = np.array([frechet(images[block != b]) for b in range(20)])
        found.append((whole, joint_jackknife(whole, left_out, block, n_resamples)))
    (a, draws_a), (b, draws_b) = found
    one = np.ones((1, 1))
    return Joint(("a",), ("m",), (True,), one, one[None], prompts).interval(b - a, draws_b - draws_a)


def frechet(images: Floats) -> float:
    """Squared mean plus squared difference of the standard deviation to 1."""
    return float(images.mean() ** 2 + (images.std(ddof=1) - 1) ** 2)


def worlds() -> list[World]:
    """All worlds, the gated ones first."""
    kinds = ("normal", "mostly between prompts", "uneven spread", "heavy tails", "skewed", "shares")
    made = [World(f"image metric, {kind}", p, 5, 0.0, image_world(kind)) for kind in kinds for p in (12, 32, 100, 400)]
    made += [World("image metric, a fifth unscored", p, 5, 0.0, unbalanced) for p in (12, 32, 100)]
    paired = [(kind, p) for kind in ("normal", "skewed") for p in (12, 32, 100)]
    made += [World(f"paired difference, {kind}", p, 5, 0.0, paired_world(kind)) for kind, p in paired]
    pairwise = 2 / math.sqrt(math.pi)
    made += [
        World("group metric, mean pairwise distance", p, k, pairwise, group_world)
        for p in (12, 32, 100)
        for k in (3, 5)
    ]
    distance = 1 + (math.sqrt(2) - 1) ** 2
    made += [World("set metric, jackknife of 20 blocks", p, 5, distance, set_world(20)) for p in (60, 200, 400)]
    made += [World("set metric, jackknife of 10 blocks", 200, 5, distance, set_world(10))]
    made += equal_worlds()
    made += [World("joint: price of a unit of reward", p, 1, 0.75, price_world) for p in (32, 100, 400)]
    made += [World("joint: difference of set metrics", p, 5, 0.0, set_difference_world) for p in (60, 200)]
    few = [
        World(f"few prompts: image metric, {kind}", p, 5, 0.0, image_world(kind), FEW) for kind in kinds for p in (5, 8)
    ]
    made += few
    made += [World("few prompts: mean pairwise distance", p, 5, pairwise, group_world, FEW) for p in (5, 8)]
    made += [
        World("wrong: images as independent samples", 32, 5, 0.0, images_as_samples, expected=WRONG),
        World("wrong: pairs as independent samples", 32, 5, pairwise, pairs_as_samples, expected=WRONG),
        World("wrong: selected resamples at the end of a sweep", 100, 1, -OTHER[1], selected_world, WRONG),
        World("wrong: images drawn anew inside prompts", 32, 5, pairwise, images_redrawn, expected=WRONG),
    ]
    return made


def coverage(world: World, trials: int, n_resamples: int, seed: int) -> tuple[float, float]:
    """Share of experiments that say nothing wrong: the interval holds the truth, or there is none; and that have one.

    Of a world in which every experiment has an interval the first is its coverage.
    """
    right = made = 0
    for trial in range(trials):
        found = world.draw(np.random.default_rng([seed, trial]), world.prompts, world.samples, n_resamples)
        made += math.isfinite(found.low)
        right += not math.isfinite(found.low) or found.low <= world.truth <= found.high
    return right / trials, made / trials


def main() -> None:
    """Print a line a world, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--n-resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="worlds whose name holds this text")
    given = parser.parse_args()
    print(
        f"Coverage of nominal 95 % intervals in {given.trials:,} experiments each, {given.n_resamples:,} resamples.\n"
    )
    print("| world | prompts | images per prompt | coverage | expected |\n| :--- | ---: | ---: | ---: | ---: |")
    for world in (world for world in worlds() if given.only in world.name):
        share, made = coverage(world, given.trials, given.n_resamples, given.seed)
        low, high = world.expected
        told = f"{100 * low:.0f}-{100 * high:.0f} %" + ("" if low <= share <= high else " MISSED")
        some = f" (an interval in {made:.0%})" if made < 1 else ""
        print(f"| {world.name} | {world.prompts} | {world.samples} | {share:.1%}{some} | {told} |", flush=True)


if __name__ == "__main__":
    main()
