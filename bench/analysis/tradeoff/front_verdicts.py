"""Which methods are surely on the front of two or more metrics, surely dominated, or undecided.

In a plot of M methods each is wrongly placed with at most 5 % in all (family-wise). A method is

- surely dominated where one other is better in every metric, each beyond its uncertainty (intersection-union test,
  Berger 1982), at a level shared among the M - 1 others;
- surely on the front where against every other it is better in some metric (again all of them have to hold), at a level
  shared among the metrics.

Of these two claims about a method at most one is false, and never are both near, so M tests share the 5 %, step by step
as in Holm 1979: what is decided of one method no longer counts when the next is judged. The share of resamples
in which a method is on the front is no probability of that: where methods are close it is far too low.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import holm
from bench.analysis.tradeoff.pairs import Pairs

Floats = NDArray[np.float64]

ON, DOMINATED, UNDECIDED = "surely on the front", "surely dominated", "undecided"


def front_p_values(better: Floats) -> tuple[Floats, Floats]:
    """p [M] of "is dominated" and of "is on the front" from one-sided p values [M, M, D].

    `better[i, j, k]` is the p of the claim "i is better than j in metric k"; the diagonal is not read. NaN (nothing
    could be computed) counts as 1.
    """
    methods, metrics = better.shape[0], better.shape[2]
    p = np.where(np.isfinite(better), better, 1.0)
    if methods == 1:
        return np.ones(1), np.zeros(1)
    others = ~np.eye(methods, dtype=bool)
    everywhere = np.where(others, p.max(axis=2), 1.0)  # [i, j]: i dominates j
    dominated = np.minimum(1.0, (methods - 1) * everywhere.min(axis=0))
    somewhere = np.where(others, np.minimum(1.0, metrics * p.min(axis=2)), 0.0)  # [i, j]: i better than j somewhere
    return dominated, somewhere.max(axis=1)


def front_verdicts(better: Floats, alpha: float = 0.05) -> list[str]:
    """ON, DOMINATED or UNDECIDED per method; wrong for any of them in at most `alpha` of experiments."""
    dominated, on = front_p_values(better)
    decided = holm(np.minimum(dominated, on)) <= alpha
    return [
        UNDECIDED if not sure else DOMINATED if d < o else ON
        for sure, d, o in zip(decided.tolist(), dominated.tolist(), on.tolist(), strict=True)
    ]


def verdicts_of(pairs: Pairs, methods: Sequence[str], metrics: Sequence[str], alpha: float = 0.05) -> dict[str, str]:
    """Method -> verdict on the front of `metrics` among `methods`."""
    better = np.full((len(methods), len(methods), len(metrics)), np.nan)
    for i, a in enumerate(methods):
        for j, b in enumerate(methods[:i]):
            for k, metric in enumerate(metrics):
                better[j, i, k], better[i, j, k] = pairs.better(a, b, metric)
    return dict(zip(methods, front_verdicts(better, alpha), strict=True))
