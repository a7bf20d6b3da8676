"""How often the intervals of interquartile means, profiles, dominance rates and control variates hold the truth.

    python benchmarks/robust_coverage.py [--only TEXT] [--trials N] [--save FILE]

The truth of a skewed world's interquartile mean is that of a million values. A control variate counts where it is used
(narrower by a tenth than the plain interval), and the part of trials in which it is used has a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.robust import control_variate, dominance_rates, interquartile_mean, performance_profile

World = Callable[[Rng, tuple[int, ...]], np.ndarray]
WORLDS: dict[str, World] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t, 3 degrees of freedom": lambda rng, size: rng.standard_t(3, size=size),
    "skewness 2 (exponential)": lambda rng, size: rng.exponential(size=size) - 1,
}


def middle_line(name: str, prompts: int) -> Line:
    """Interquartile mean over prompts."""
    ordered = np.sort(WORLDS[name](np.random.default_rng(1), (1_000_000,)))
    truth = float(ordered[250_000:750_000].mean())

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = [interquartile_mean(row) for row in WORLDS[name](rng, (trials, prompts))]
        return np.array([one.low <= truth <= one.high for one in found])

    return Line(f"interquartile mean, {name}, {prompts} prompts", draw, 0.93, 0.97, 2000, 500)


def profile_line(prompts: int) -> Line:
    """One score, which a share of 0.7 reaches: Clopper & Pearson's limits are never short."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = [performance_profile(row, [0.3]) for row in rng.random((trials, prompts))]
        return np.array([one.low[0] <= 0.7 <= one.high[0] for one in found])

    return Line(f"profile at a share of 0.7, {prompts} prompts", draw, 0.93, 1.0, 2000, 500)


def dominance_line(prompts: int, spread: float) -> Line:
    """Joint dominance rate in two rewards, 5 images a prompt; prompts differ by `spread` in how easily they rise."""

    def images(rng: Rng, count: int) -> tuple[np.ndarray, np.ndarray]:
        base = rng.normal(size=(2, count, 5))
        easy = spread * rng.normal(size=(1, count, 1))
        return base, base + 0.4 + easy + rng.normal(size=(2, count, 5))

    base, method = images(np.random.default_rng(2), 400_000)
    truth = float(((method >= base).all(axis=0)).mean())

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            a, b = images(rng, prompts)
            one = dominance_rates(list(a), list(b), np.arange(prompts), ("a", "b"), (True, True)).dominates
            found.append(one.low <= truth <= one.high)
        return np.array(found)

    return Line(f"joint dominance rate, prompts differ by {spread}, {prompts} prompts", draw, 0.93, 0.97, 2000, 500)


def control_line(name: str, prompts: int, correlation: float, *, used: bool = False) -> Line:
    """A method on a few prompts of ten times as many on which the base was run."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            hard, own = WORLDS[name](rng, (2, 10 * prompts))
            mine = correlation * hard + np.sqrt(1 - correlation**2) * own
            one = control_variate(mine[:prompts], hard[:prompts], hard)
            held = np.nan if one is None else float(one.low <= 0 <= one.high)
            found.append(float(one is not None) if used else held)
        return np.array(found)

    what = "used" if used else "holds the truth"
    wanted = (0.0, 1.0) if used else (0.93, 0.97)
    title = f"control variate {what}, {name}, correlation {correlation}, {prompts} prompts"
    return Line(title, draw, *wanted, 2000, 500)


def lines() -> list[Line]:
    """Each summary in its worlds."""
    made = [middle_line(name, prompts) for name in WORLDS for prompts in (32, 100)]
    made += [profile_line(prompts) for prompts in (32, 100)]
    made += [dominance_line(prompts, spread) for spread in (0.0, 1.0) for prompts in (32, 100)]
    for name in WORLDS:
        for prompts in (8, 32, 100):
            made += [control_line(name, prompts, 0.9)]
        made += [control_line(name, 32, 0.6), control_line(name, 32, 0.6, used=True)]
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "rate")
