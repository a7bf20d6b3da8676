"""How often intervals over checkpoints and prompts hold the truth of a METHOD, from three training seeds up.

    python benchmarks/replicates_coverage.py [--only TEXT] [--trials N] [--save FILE]

A value is seed + prompt + rest; the three standard deviations are in the line's name. The last lines are what one
checkpoint's interval would hold of the method: it knows nothing of training again.
"""

from __future__ import annotations

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.replicates import two_way, two_way_difference

SPREADS = ((0.0, 1.0, 0.5), (0.05, 1.0, 0.5), (0.2, 1.0, 0.5), (0.5, 1.0, 0.5), (1.0, 1.0, 0.5), (0.1, 0.3, 1.0))


def values(rng: Rng, seeds: int, prompts: int, spread: tuple[float, float, float]) -> np.ndarray:
    """[seeds, prompts]."""
    seed, prompt, rest = spread
    parts = seed * rng.normal(size=(seeds, 1)), prompt * rng.normal(size=(1, prompts))
    return np.asarray(sum(parts) + rest * rng.normal(size=(seeds, prompts)))


def line(spread: tuple[float, float, float], seeds: int, prompts: int, low: float, high: float) -> Line:
    """Coverage of the method's mean."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = [two_way(values(rng, seeds, prompts, spread)).limits() for _ in range(trials)]
        return np.array([low <= 0 <= high for low, high in found])

    name = "seed {}, prompt {}, rest {}".format(*spread)
    return Line(f"{name}: {seeds} seeds, {prompts} prompts", draw, low, high, 2000, 500)


def difference_line(prompts: int) -> Line:
    """Two methods of three seeds each on the same prompts."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            shared = 2 * rng.normal(size=(1, prompts))
            a, b = (shared + values(rng, 3, prompts, (0.3, 0.5, 0.5)) for _ in range(2))
            low, high = two_way_difference(a, b).limits()
            found.append(low <= 0 <= high)
        return np.array(found)

    return Line(f"difference of two methods: 3 seeds each, {prompts} prompts", draw, 0.93, 0.97, 2000, 500)


def skewed_line(seed: float, prompts: int) -> Line:
    """Prompts with skewness 2."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            skewed = rng.exponential(size=(1, prompts)) - 1
            low, high = two_way(values(rng, 3, prompts, (seed, 0.0, 0.5)) + skewed).limits()
            found.append(low <= 0 <= high)
        return np.array(found)

    return Line(f"seed {seed}, prompts with skewness 2: 3 seeds, {prompts} prompts", draw, 0.93, 0.97, 2000, 500)


def lines() -> list[Line]:
    """Three and five seeds, two, skewed prompts, then what one checkpoint says."""
    made = [line(spread, seeds, p, 0.93, 0.97) for spread in SPREADS for seeds in (3, 5) for p in (32, 100)]
    made += [difference_line(32), difference_line(100)]
    made += [line(spread, 2, 32, 0.93, 1.0) for spread in SPREADS[:1] + SPREADS[3:5]]
    made += [skewed_line(spread, prompts) for spread in (0.0, 0.5) for prompts in (32, 100)]
    return [*made, line((0.5, 1.0, 0.5), 1, 100, 0.0, 0.9)]


if __name__ == "__main__":
    main(__doc__, lines(), "coverage")
