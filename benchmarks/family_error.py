"""How often a table of 24 differences, none of them true, has a mark; and how often a planted difference has one.

    python benchmarks/family_error.py [--only TEXT] [--trials N] [--save FILE]

Error: 24 independent differences with mean 0 are Holm-corrected, and the table errs if any is marked in full. Power:
one of the 24 has a true difference of twice what such a table says that it detects. "Against": the long tail points
away from the difference, which is the harder side.
"""

from __future__ import annotations

import numpy as np
from interval_coverage import WORLDS
from simulate import Line, Rng, main

from bench.analysis.means import limits, mean_stats, two_sided
from bench.analysis.stats import POWER, t_quantile

TESTS, ALPHA = 24, 0.05


def error_line(name: str, prompts: int, most: float) -> Line:
    """Family-wise error: with 24 true null hypotheses Holm's first step is all that counts."""

    def draw(rng: Rng, trials: int) -> np.ndarray:
        p = two_sided(mean_stats(WORLDS[name](rng, (trials, TESTS, prompts))))
        return p.min(axis=1) < ALPHA / TESTS

    return Line(f"any mark, {name}, {prompts} prompts", draw, 0.0, most, 4000, 500)


def power_line(name: str, prompts: int, least: float, side: float, how: str) -> Line:
    """A difference of twice the median of what is printed as `detects`, in units of the world."""
    level = 1 - ALPHA / TESTS

    def draw(rng: Rng, trials: int) -> np.ndarray:
        low, high = limits(mean_stats(WORLDS[name](rng, (400, prompts))), level)
        reach = 1 + t_quantile(POWER, prompts - 1) / t_quantile(0.5 + level / 2, prompts - 1)
        detects = float(np.median((high - low) / 2)) * reach
        p = two_sided(mean_stats(WORLDS[name](rng, (trials, prompts)) + side * 2 * detects))
        return p < ALPHA / TESTS

    return Line(f"planted 2 x detects, {name}{how}, {prompts} prompts", draw, least, 1.0)


def lines() -> list[Line]:
    """Errors, and beside them powers."""
    fair = [name for name in WORLDS if "lognormal(" not in name]
    made = [error_line(name, prompts, 0.06) for name in fair for prompts in (32, 100)]
    made += [error_line("lognormal(1)", prompts, most) for prompts, most in ((32, 0.15), (100, 0.15), (400, 0.08))]
    made += [power_line("normal", prompts, 0.95, 1, "") for prompts in (32, 100)]
    skewed = "skewness 2 (exponential)"
    made += [power_line(skewed, prompts, least, -1, ", against") for prompts, least in ((32, 0.3), (100, 0.75))]
    made += [power_line(skewed, prompts, 0.95, 1, ", with") for prompts in (32, 100)]
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "rate")
