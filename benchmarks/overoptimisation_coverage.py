"""How often the intervals of over-optimisation hold the truth: gains, the index, and differences of two indices.

    python benchmarks/overoptimisation_coverage.py [--only TEXT] [--trials N] [--save FILE]

Two methods and a base in three metrics, the first of which is the training reward; 5 images a prompt. "Uneven": prompts
differ in how much their images vary, so the standard deviation that gains are divided by is itself uncertain. The last
lines take it for known, as was done before. The truth is taken from 200,000 prompts. Where the trained reward did not
surely rise there is no index, and the trial does not count.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.ratios import pseudo_interval, ratio_interval, surely_not_zero
from bench.analysis.tradeoff.standardised import Gain, mean_gain, prompt_moments, standardised_gain

SAMPLES, METRICS = 5, 3
EFFECTS = (np.array([1.6, 0.7, -0.3]), np.array([1.3, 0.8, 0.1]))


def values(kind: str, rng: Rng, prompts: int) -> list[np.ndarray]:
    """Base and two methods, each [prompts, samples, metrics]."""
    if kind == "lognormal":

        def part(*shape: int) -> np.ndarray:
            return np.exp(0.8 * rng.normal(size=shape))
    else:

        def part(*shape: int) -> np.ndarray:
            return rng.normal(size=shape)

    scale = rng.gamma(2, 0.5, size=(prompts, 1, 1)) if kind == "uneven" else 1.0
    shared = part(prompts, 1, METRICS) * scale
    base = shared + scale * 0.7 * part(prompts, SAMPLES, METRICS)
    return [base] + [
        shared + scale * (0.7 * part(prompts, SAMPLES, METRICS) + 0.4 * part(prompts, 1, METRICS)) + effect
        for effect in EFFECTS
    ]


def gains(base: np.ndarray, method: np.ndarray) -> tuple[Gain, Gain]:
    """In the training reward, and the mean of the others."""
    prompts = len(base)
    where = np.repeat(np.arange(prompts), SAMPLES)
    found = []
    for k in range(METRICS):
        a, b = (prompt_moments(one[:, :, k].ravel(), where, prompts) for one in (base, method))
        gain = standardised_gain(a, b)
        assert gain is not None
        found.append(gain)
    return found[0], mean_gain(found[1:])


def index(inside: Gain, outside: Gain) -> float:
    """1 - held-out gain / gain in the training reward."""
    return 1 - outside.value / inside.value


@cache
def truth(kind: str) -> dict[str, float]:
    """Of very many prompts."""
    base, a, b = values(kind, np.random.default_rng(0), 200_000)
    (in_a, out_a), (in_b, out_b) = gains(base, a), gains(base, b)
    first = index(in_a, out_a)
    return {"gain": in_a.value, "held out": out_a.value, "index": first, "difference": index(in_b, out_b) - first}


def interval_of(what: str, base: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Limits of a quantity; NaN where there is none."""
    (in_a, out_a), (in_b, out_b) = gains(base, a), gains(base, b)
    if what in ("gain", "held out"):
        one = pseudo_interval((in_a if what == "gain" else out_a).pseudo)
        return one.low, one.high
    if not surely_not_zero(in_a.pseudo) or (what == "difference" and not surely_not_zero(in_b.pseudo)):
        return np.nan, np.nan
    if what == "index":
        one = ratio_interval(in_a.pseudo - out_a.pseudo, in_a.pseudo)
        return one.low, one.high
    influence = [
        (out.value / inside.value * inside.pseudo - out.pseudo) / inside.value
        for inside, out in ((in_a, out_a), (in_b, out_b))
    ]
    one = pseudo_interval(index(in_b, out_b) - index(in_a, out_a) + influence[1] - influence[0])
    return one.low, one.high


def line(kind: str, what: str, prompts: int) -> Line:
    """Coverage of one quantity."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            low, high = interval_of(what, *values(kind, rng, prompts))
            found.append(np.nan if np.isnan(low) else low <= truth(kind)[what] <= high)
        return np.array(found, dtype=float)

    low, high = (0.90, 1.0) if kind == "lognormal" else (0.93, 0.97)
    return Line(f"{what}, {kind}, {prompts} prompts", draw, low, high, 1000, 250)


def known_line(prompts: int) -> Line:
    """Wrong: the standard deviation taken for known."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            base, a, _ = values("uneven", rng, prompts)
            deviation = np.sqrt((base[:, :, 0].var(ddof=1) + a[:, :, 0].var(ddof=1)) / 2)
            one = pseudo_interval((a - base)[:, :, 0].mean(axis=1) / deviation)
            found.append(one.low <= truth("uneven")["gain"] <= one.high)
        return np.array(found)

    return Line(f"wrong: deviation taken for known, uneven, {prompts} prompts", draw, 0.0, 0.9, 1000, 250)


def lines() -> list[Line]:
    """All quantities in all worlds."""
    kinds, parts = ("normal", "uneven", "lognormal"), ("gain", "held out", "index", "difference")
    made = [line(kind, what, prompts) for kind in kinds for what in parts for prompts in (32, 100)]
    return [*made, known_line(100)]


if __name__ == "__main__":
    main(__doc__, lines(), "coverage")
