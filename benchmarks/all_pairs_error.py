"""How often all pairs of four methods in six metrics are wrong somewhere, and what they find.

    python benchmarks/all_pairs_error.py [--only TEXT] [--trials N] [--save FILE]

36 differences are one family. Wrong somewhere: any pair that is called different and is not, or the other way round
than it is; the best method is not in the set that may be the best; a true rank lies outside of its interval. The lines
on what is found have methods that differ by four standard errors of a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.allpairs import AllPairs, compared
from bench.analysis.differences import Difference
from bench.analysis.intervals import cluster_difference, mean_interval
from bench.analysis.stats import Interval, Paired
from bench.store.runs import MetricFacts

METRICS = tuple(MetricFacts(f"m{number}", f"m{number}", "image", "higher") for number in range(6))
NAMES = ("a", "b", "c", "d")
NOISE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t, 3 degrees of freedom": lambda rng, size: rng.standard_t(3, size=size) / math.sqrt(3),
    "skewness 2 (exponential)": lambda rng, size: rng.exponential(size=size) - 1,
}


def all_of(rng: Rng, noise: str, prompts: int, truth: Sequence[float]) -> tuple[AllPairs, ...]:
    """All pairs of one experiment: values share their prompts, and each method has its own part."""
    index = np.arange(prompts)
    values = {
        (name, facts.name): shared + mean + NOISE[noise](rng, prompts)
        for facts in METRICS
        for shared in [rng.normal(size=prompts)]
        for name, mean in zip(NAMES, truth, strict=True)
    }

    def interval(name: str, metric: str) -> Interval:
        return mean_interval(values[name, metric], index)

    def difference(a: str, b: str, metric: str) -> Difference:
        one, other = values[a, metric], values[b, metric]
        facts = METRICS[int(metric[1:])]
        found = cluster_difference(one, other, index)
        return Difference(facts, one.mean(), other.mean(), Paired(found.interval(), found.p(), 0, 0, 0))

    return compared(NAMES, METRICS, interval, difference)


def wrong(found: Sequence[AllPairs], truth: Sequence[float]) -> bool:
    """Whether anything that is said of any metric is not so."""
    mean = dict(zip(NAMES, truth, strict=True))
    for one in found:
        better = [(one.methods[i], one.methods[j]) for i, j in np.argwhere(one.better).tolist()]
        if any(not mean[a] > mean[b] for a, b in better):
            return True
        top = max(truth)
        if not any(mean[name] == top for name in one.maybe_best):
            return True
        for name, (low, high) in zip(one.methods, one.ranks, strict=True):
            above, level = sum(m > mean[name] for m in truth), sum(m == mean[name] for m in truth)
            if low > above + level or high < above + 1:
                return True
    return False


def error_line(noise: str, prompts: int, step: float) -> Line:
    """Anything wrong."""
    truth = [step * math.sqrt(2 / prompts) * number for number in range(4)]

    def draw(rng: Rng, trials: int) -> np.ndarray:
        return np.array([wrong(all_of(rng, noise, prompts, truth), truth) for _ in range(trials)])

    what = "no method differs" if step == 0 else f"methods {step:g} standard errors apart"
    return Line(f"anything wrong: {what}, {noise}, {prompts} prompts", draw, 0.0, 0.06, 1000, 100)


def power_line(noise: str, prompts: int) -> Line:
    """The part of neighbours, four standard errors apart, that are told from each other."""
    truth = [4 * math.sqrt(2 / prompts) * number for number in range(4)]

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = [all_of(rng, noise, prompts, truth) for _ in range(trials)]
        return np.array([one[0].better[0, 1] for one in found])

    return Line(f"best told from the second, 4 standard errors, {noise}, {prompts} prompts", draw, 0.0, 1.0, 1000, 100)


def lines() -> list[Line]:
    """Errors, and beside them what is found."""
    made = []
    for noise in NOISE:
        for prompts in (32, 100):
            made += [error_line(noise, prompts, 0.0), error_line(noise, prompts, 2.0), power_line(noise, prompts)]
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "rate")
