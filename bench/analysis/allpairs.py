"""All pairs of methods: which is surely better than which, letters, ranks, and who may be the best.

Holm's correction covers the pairs of all metrics that are looked at together, so with 95 % no pair is called different
that is not, and with the same 95 % all of these hold: the set that may be the best (Hsu 1996, Multiple Comparisons,
chapter 4, by pairs), the ranks (Al Mohamad, Goeman & van Zwet 2022, Simultaneous confidence intervals for ranks, arXiv
1812.05507) and the letters (Piepho 2004). "Surely better" is that of `Difference.sure`, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.analysis.differences import Difference, corrected
from bench.analysis.stats import Interval
from bench.analysis.tradeoff.pairs import Pairs
from bench.store.runs import MetricFacts, metric_order


@dataclass(frozen=True)
class AllPairs:
    """One metric. Methods are ordered best mean first; `differences[i, j]` is i minus j, for i before j."""

    facts: MetricFacts
    methods: tuple[str, ...]
    means: tuple[Interval, ...]
    differences: dict[tuple[int, int], Difference] = field(repr=False)
    absent: tuple[str, ...] = ()  # methods without a value of this metric
    tests: int = 0  # how many differences the correction covers, over all metrics

    @cached_property
    def better(self) -> NDArray[np.bool_]:
        """[M, M]: `better[i, j]`, method i is surely better than method j."""
        found = np.zeros((len(self.methods), len(self.methods)), dtype=bool)
        for (i, j), one in self.differences.items():
            if one.sure:
                found[(i, j) if one.better == "b" else (j, i)] = True
        return found

    @cached_property
    def maybe_best(self) -> tuple[str, ...]:
        """The methods that no other is surely better than: the best is among them with 95 %."""
        return tuple(name for j, name in enumerate(self.methods) if not self.better[:, j].any())

    @cached_property
    def ranks(self) -> tuple[tuple[int, int], ...]:
        """Per method the best and the worst rank that it may have, from 1."""
        count = len(self.methods)
        return tuple((1 + int(self.better[:, j].sum()), count - int(self.better[j].sum())) for j in range(count))

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """Compact letter display: two methods share a letter exactly where neither is surely better."""
        return letters(self.better | self.better.T)


def all_pairs(pairs: Pairs, metrics: Sequence[str] | None = None) -> tuple[AllPairs, ...]:
    """Each method against each in every metric (default: all, in the order of tables), as one family of tests."""
    names = metrics or [facts.name for facts in sorted(pairs.metrics.values(), key=metric_order)]
    facts = [pairs.metrics[name] for name in names]
    return compared(pairs.methods, facts, pairs.interval, pairs.compared)


def compared(
    methods: Sequence[str],
    metrics: Sequence[MetricFacts],
    interval: Callable[[str, str], Interval],
    difference: Callable[[str, str, str], Difference],
) -> tuple[AllPairs, ...]:
    """As `all_pairs`, of any methods with a mean, `interval(method, metric)`, and `difference(a, b, metric)`, b - a."""
    blocks, tests = [], []
    for facts in metrics:
        means = {name: interval(name, facts.name) for name in methods}
        scored = [name for name in methods if math.isfinite(means[name].mean)]
        sign = -1.0 if facts.higher else 1.0
        ordered = sorted(scored, key=lambda name: (sign * means[name].mean, name))
        places = [(i, j) for j in range(len(ordered)) for i in range(j)]
        blocks.append((facts, ordered, [means[name] for name in ordered], places))
        tests += [difference(ordered[j], ordered[i], facts.name) for i, j in places]
    together = corrected(tests)
    count = sum(math.isfinite(one.p_holm) for one in together)
    left = iter(together)
    return tuple(
        AllPairs(
            facts,
            tuple(ordered),
            tuple(means),
            {place: next(left) for place in places},
            tuple(name for name in methods if name not in ordered),
            count,
        )
        for facts, ordered, means, places in blocks
    )


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
