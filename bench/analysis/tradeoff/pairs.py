"""Paired differences between any two methods of a table, in any metric, with their tails: what verdicts rest on.

Values are held as arrays [prompts, samples], so that all pairs of many methods are cheap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bench.analysis.differences import Difference, judged, same_pictures, set_estimate
from bench.analysis.estimand import Pairing, Units, pair, prompt_clusters, units_of
from bench.analysis.extrapolation import BlockMean
from bench.analysis.stats import Floats, Interval
from bench.analysis.summary import metric_interval
from bench.store.runs import MetricFacts, Run
from bench.store.select import display_names

Estimate = Pairing | BlockMean


@dataclass(frozen=True)
class Pairs:
    """Comparable runs under the names that are printed. Metrics are those that any run has."""

    runs: tuple[Run, ...]
    methods: tuple[str, ...]
    _units: dict[tuple[str, str], Units] = field(default_factory=dict, repr=False, compare=False)
    _means: dict[tuple[str, str], Interval] = field(default_factory=dict, repr=False, compare=False)
    _made: dict[tuple[str, str, str], Estimate] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def metrics(self) -> dict[str, MetricFacts]:
        """Name -> facts."""
        return {name: facts for run in self.runs for name, facts in run.metrics.items()}

    @cached_property
    def prompts(self) -> dict[str, int]:
        """Prompt id -> row of the arrays."""
        return {prompt_id: row for row, (prompt_id, _) in enumerate(self.runs[0].prompts)}

    @cached_property
    def clusters(self) -> np.ndarray:
        """The cluster of each row of the arrays, [P]."""
        numbers = prompt_clusters(self.runs[0])
        return np.array([numbers[prompt_id] for prompt_id in self.prompts])

    def run(self, method: str) -> Run:
        """The run behind a name; KeyError with the known ones."""
        if method not in self.methods:
            raise KeyError(f"unknown method {method!r}: there are {', '.join(self.methods)}")
        return self.runs[self.methods.index(method)]

    def units(self, method: str, metric: str) -> Units:
        """All expected values of a method in an image or group metric, prompts in the order of `prompts`."""
        key = method, metric
        if key not in self._units:
            self._units[key] = units_of(self.run(method), metric).of(list(self.prompts))
        return self._units[key]

    def _pair(self, a: str, b: str, metric: str) -> Pairing:
        return pair(self.units(a, metric), self.units(b, metric))

    def difference(self, a: str, b: str, metric: str) -> Estimate:
        """b - a, as in the tables."""
        key = a, b, metric
        if key not in self._made:
            facts = self.metrics[metric]
            if metric not in self.run(a).metrics or metric not in self.run(b).metrics:
                self._made[key] = BlockMean(math.nan, math.nan, 0, 0, "not scored for both")
            elif facts.kind == "set":
                self._made[key] = set_estimate(self.run(a), self.run(b), facts)
            else:
                self._made[key] = self._pair(a, b, metric)
        return self._made[key]

    def better(self, a: str, b: str, metric: str) -> tuple[float, float]:
        """One-sided p of "b is better than a" and of "a is better than b"; NaN where nothing can be computed."""
        above, below = self.difference(a, b, metric).one_sided()
        return (above, below) if self.metrics[metric].higher else (below, above)

    def compared(self, a: str, b: str, metric: str) -> Difference:
        """b - a as it is judged everywhere, by itself and without a win rate: `corrected` makes several one family."""
        facts, runs = self.metrics[metric], (self.run(a), self.run(b))
        means = self.mean(a, metric), self.mean(b, metric)
        return judged(facts, *means, self.difference(a, b, metric), same=same_pictures(*runs), win=False)

    def interval(self, method: str, metric: str) -> Interval:
        """The mean that is printed, with its interval; NaN where there is none."""
        key = method, metric
        if key not in self._means:
            run = self.run(method)
            found = metric_interval(run, metric) if metric in run.metrics else None
            self._means[key] = found or Interval(math.nan, math.nan, math.nan, 0, reason="not scored")
        return self._means[key]

    def mean(self, method: str, metric: str) -> float:
        """The mean that is printed; NaN where there is none."""
        return self.interval(method, metric).mean

    def changes(self, a: str, b: str, metric: str) -> Floats:
        """b - a as a mean per cluster [C], oriented so that positive is better; NaN of clusters without a pair."""
        count = int(self.clusters.max()) + 1
        if metric not in self.run(a).metrics or metric not in self.run(b).metrics:
            return np.full(count, np.nan)
        sign = 1.0 if self.metrics[metric].higher else -1.0
        differences = sign * self._pair(a, b, metric).differences
        known = np.isfinite(differences)
        totals = np.bincount(self.clusters, weights=np.where(known, differences, 0).sum(axis=1), minlength=count)
        sizes = np.bincount(self.clusters, weights=known.sum(axis=1), minlength=count)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan))


def pairs_of(runs: Sequence[Run], names: Sequence[str] | None = None) -> Pairs:
    """Of comparable runs; `names` default to their display names."""
    return Pairs(tuple(runs), tuple(names if names is not None else display_names(runs)))
