"""Worlds that no constant was chosen by: where intervals and marks hold, and where they are not to be trusted.

    python benchmarks/untuned_worlds.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

As in interval_coverage.py and family_error.py; the figures are compared with the same promises, and docs/statistics.md
says what the misses have in common. Then tables of 3 to 12 methods whose metrics are correlated, all pairs, with texts
that stand there several times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from family_error import error, power
from interval_coverage import covers
from simulate import Line, Rng, cell, main
from worlds import UNTUNED, Draw

from bench.analysis.intervals import cluster_difference
from bench.analysis.stats import holm


def coverage(draw: Draw, prompts: int) -> Callable[[Rng, int], np.ndarray]:
    """Of a mean of independent prompts; a trial of equal values has no interval and does not count."""

    def trials(rng: Rng, count: int) -> np.ndarray:
        values = draw(rng, (count, prompts))
        flat = np.ptp(values, axis=1) == 0
        return np.where(flat, np.nan, covers(values, 0.0))

    return trials


def table(methods: int, prompts: int, effect: float) -> Callable[[Rng, int], np.ndarray]:
    """Whether a table of all pairs in four metrics (correlated by 0.9) marks a pair in full that does not differ.

    Two thirds of the prompts have a text of their own, a third share few; a copy of a text has a tenth of noise of its
    own. With an `effect` the first method differs in all metrics: the share of its cells that is marked.
    """
    texts = 2 * prompts // 3
    of = np.concatenate([np.arange(texts), np.arange(prompts - texts) ** 2 % max(1, texts // 6)])
    pairs = [(a, b) for b in range(methods) for a in range(b)]

    def one(rng: Rng) -> float:
        shape = (methods, 4, texts)
        own = np.sqrt(0.9) * rng.normal(size=(methods, 1, texts)) + np.sqrt(0.1) * rng.normal(size=shape)
        values = (own**3 / 3 + rng.normal(size=(1, 4, texts)))[..., of] + 0.1 * rng.normal(size=(methods, 4, prompts))
        values[0] += effect
        p = holm([cluster_difference(values[a, k], values[b, k], of).p() for a, b in pairs for k in range(4)])
        first = np.repeat([a == 0 for a, _ in pairs], 4)
        return float((p[first] < 0.05).mean()) if effect else float((p < 0.05).any())

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def lines() -> list[Line]:
    """Coverage, errors and powers."""
    made = []
    for name, draw in UNTUNED.items():
        for prompts in (32, 100, 400):
            group, of = "untuned worlds: coverage of a mean", f"{prompts} prompts"
            made.append(cell(group, name, of, coverage(draw, prompts), 0.90, 0.98))
        for prompts in (32, 100):
            group, of = "untuned worlds: any full mark of 24", f"{prompts} prompts"
            made.append(cell(group, name, f"none true, {of}", error(draw, prompts), 0.0, 0.06, part=500))
            made.append(cell(group, name, f"2 x detects, {of}", power(draw, prompts, -1), 0.3, 1.0))
    for methods, trials in ((3, 400), (6, 200), (12, 100)):
        group, row = "all pairs, four correlated metrics, repeated texts", f"{methods} methods"
        for prompts in (48, 120):
            more = {"trials": trials, "part": 100}
            made.append(cell(group, row, f"none true, {prompts}", table(methods, prompts, 0.0), 0.0, 0.06, **more))
            planted = table(methods, prompts, 3.0)
            made.append(cell(group, row, f"planted, {prompts}", planted, 0.0, 1.0, mean=True, **more))
    return made


if __name__ == "__main__":
    main(__doc__, lines())
