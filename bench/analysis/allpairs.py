"""All pairs of methods in one metric: which is surely better than which, letters, ranks, who may be the best.

Holm's correction covers all M (M - 1) / 2 pairs of a metric, so with 95 % no pair is called different that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import holm
from bench.analysis.tradeoff.pairs import Pairs


@dataclass(frozen=True)
class AllPairs:
    """`better[i, j]`: method i is surely better than method j. Methods are ordered best mean first."""

    metric: str
    methods: tuple[str, ...]
    means: tuple[float, ...]
    p_holm: NDArray[np.float64]  # [M, M], symmetric; NaN where nothing could be computed
    better: NDArray[np.bool_]  # [M, M]

    @property
    def maybe_best(self) -> tuple[str, ...]:
        """The methods that no other is surely better than: the best is among them with 95 %."""
        return tuple(name for j, name in enumerate(self.methods) if not self.better[:, j].any())

    @property
    def ranks(self) -> tuple[tuple[int, int], ...]:
        """Per method the best and the worst rank that it may have, from 1."""
        count = len(self.methods)
        return tuple((1 + int(self.better[:, j].sum()), count - int(self.better[j].sum())) for j in range(count))

    @property
    def letters(self) -> tuple[str, ...]:
        """Compact letter display: two methods share a letter exactly where neither is surely better."""
        return letters(self.better | self.better.T)


def all_pairs(pairs: Pairs, metric: str, alpha: float = 0.05) -> AllPairs:
    """All methods that were scored with a metric, each against each."""
    scored = [name for name in pairs.methods if np.isfinite(pairs.mean(name, metric))]
    sign = -1.0 if pairs.metrics[metric].higher else 1.0
    names = sorted(scored, key=lambda name: sign * pairs.mean(name, metric))
    indices = [(i, j) for i in range(len(names)) for j in range(i)]
    sides = [pairs.better(names[j], names[i], metric) for i, j in indices]  # i better than j, j better than i
    corrected = holm([min(1.0, 2 * min(side)) if np.isfinite(side).all() else np.nan for side in sides])
    p = np.full((len(names), len(names)), np.nan)
    better = np.zeros(p.shape, dtype=bool)
    for (i, j), (forward, backward), value in zip(indices, sides, corrected.tolist(), strict=True):
        p[i, j] = p[j, i] = value
        if value < alpha:
            better[(i, j) if forward < backward else (j, i)] = True
    return AllPairs(metric, tuple(names), tuple(pairs.mean(name, metric) for name in names), p, better)


def letters(different: NDArray[np.bool_]) -> tuple[str, ...]:
    """Letters [M] from a symmetric matrix [M, M] of who differs: insert and absorb (Piepho 2004)."""
    count = len(different)
    columns: list[frozenset[int]] = [frozenset(range(count))]
    for i, j in np.argwhere(np.tril(different, -1)).tolist():
        split = [part for c in columns for part in ((c - {i}, c - {j}) if {i, j} <= c else (c,))]
        columns = [c for c in dict.fromkeys(split) if not any(c < other for other in split)]
    columns.sort(key=lambda c: sorted(c))
    return tuple("".join(_letter(k) for k, column in enumerate(columns) if i in column) for i in range(count))


def _letter(number: int) -> str:
    """a to z, then a1 to z1, ..."""
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")


def matrix_rows(pairs: AllPairs) -> list[Sequence[str]]:
    """The matrix as text: + where the row's method is surely better than the column's, - where surely worse."""
    size = range(len(pairs.methods))
    return [["+" if pairs.better[i, j] else "-" if pairs.better[j, i] else "" for j in size] for i in size]
