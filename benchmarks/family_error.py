"""How often a table of 24 differences, none of them true, has a mark; and how often a planted difference has one.

    python benchmarks/family_error.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

Error: 24 independent differences with mean 0 are Holm-corrected, and the table errs if any is marked in full. Power,
beside each error: one of the 24 has a true difference of twice what such a table says that it detects; the worse of
both signs is aimed at, that is, the long tail of a skewed world points away from the difference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from simulate import Line, Rng, cell, main
from worlds import FAIR, WORLDS, Draw

from bench.analysis.means import limits, mean_stats, two_sided
from bench.analysis.stats import POWER, t_quantile

TESTS, ALPHA = 24, 0.05
GROUP = "any full mark of 24"


def error(draw: Draw, prompts: int) -> Callable[[Rng, int], np.ndarray]:
    """Family-wise error: with 24 true null hypotheses Holm's first step is all that counts."""

    def trials(rng: Rng, count: int) -> np.ndarray:
        p = two_sided(mean_stats(draw(rng, (count, TESTS, prompts))))
        return np.asarray(np.nanmin(np.where(np.isfinite(p), p, 1.0), axis=1) < ALPHA / TESTS)

    return trials


def power(draw: Draw, prompts: int, side: float) -> Callable[[Rng, int], np.ndarray]:
    """A difference of twice the median of what is printed as `detects`, in units of the world."""
    level = 1 - ALPHA / TESTS

    def trials(rng: Rng, count: int) -> np.ndarray:
        low, high = limits(mean_stats(draw(rng, (400, prompts))), level)
        reach = 1 + t_quantile(POWER, prompts - 1) / t_quantile(0.5 + level / 2, prompts - 1)
        detects = float(np.nanmedian((high - low) / 2)) * reach
        p = two_sided(mean_stats(draw(rng, (count, prompts)) + side * 2 * detects))
        return p < ALPHA / TESTS

    return trials


def asked(name: str, prompts: int) -> tuple[float, float]:
    """The most errors and the least power that are promised; 1 and 0 for none."""
    if "lognormal(" in name:
        return (0.15 if prompts < 400 else 0.08), 0.0
    least = 0.95 if name == "normal" else 0.3 if prompts == 32 else 0.75
    return 0.06, least if "t," not in name else 0.0


def lines() -> list[Line]:
    """Errors, and beside them powers."""
    made = []
    for name in [*FAIR, "lognormal(1)"]:
        for prompts in (32, 100, 400):
            most, least = asked(name, prompts)
            if prompts == 400 and name in FAIR:
                continue
            errs, finds = error(WORLDS[name], prompts), power(WORLDS[name], prompts, -1)
            made.append(cell(GROUP, name, f"none true, {prompts} prompts", errs, 0.0, most, trials=10_000, part=500))
            made.append(cell(GROUP, name, f"2 x detects, {prompts} prompts", finds, least, 1.0))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
