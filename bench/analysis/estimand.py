"""What is estimated, defined once: the mean over prompts of the mean over the samples of a prompt.

Expected units are prompts x samples (of images made elsewhere, the largest number of files of a prompt). One without an
image or a value is unscored; it is never averaged, and must never help:

- a difference is taken over the pairs (prompt, sample) that both runs have, where their noise is the same, and else
  over the prompts that both have;
- where the scored units of two runs differ, a claim holds only if it holds with the worst case in the gaps as well: the
  end of the range of a bounded metric, else the worst value seen in the runs compared (Manski 2003, Partial
  Identification of Probability Distributions). Otherwise nothing is decided.

`bench compare`, the tables and the gate all take their numbers from here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.bounded import Bounds
from bench.analysis.intervals import ClusterMean, bounds_of, cluster_difference, cluster_mean, same_values
from bench.analysis.stats import Floats, Interval, Paired, minimum_detectable_effect
from bench.analysis.worst_case import identical_text, worst_case
from bench.store.clusters import clusters_of
from bench.store.conditions import COUPLED
from bench.store.runs import Run

Ints = NDArray[np.int64]
_NOISE = ("seed", "sampler", "sampling_version")  # of a run's conditions: what makes its noise
_NEEDED = ("seed", "sampler")


@dataclass(frozen=True)
class Units:
    """All expected values of one metric of one run, by prompt and sample; NaN: unscored."""

    prompts: tuple[str, ...]  # ids [P]
    values: Floats = field(repr=False)  # [P, K]; K = 1 of a group metric
    clusters: Ints = field(repr=False)  # [P], what is independent of what
    bounds: Bounds | None = None
    noise: tuple[Any, ...] | None = None  # equal for two runs of the same noise; None: not on record
    common: bool = False  # only the values that all runs have are left (--common): the others are not missed
    coupled: bool = False  # the images of a prompt depend on each other: it is the prompt that is paired

    @cached_property
    def prompt_means(self) -> Floats:
        """Mean of the scored samples of each prompt [P]; NaN of none."""
        return _row_means(self.values)

    @property
    def n(self) -> int:
        """Scored units."""
        return int(np.isfinite(self.values).sum())

    @property
    def n_unscored(self) -> int:
        """Expected units without a value."""
        return 0 if self.common else self.values.size - self.n

    @property
    def seen(self) -> Bounds | None:
        """The smallest and the largest value; None where nothing is scored."""
        finite = self.values[np.isfinite(self.values)]
        return Bounds(float(finite.min()), float(finite.max())) if finite.size else None

    def mean(self) -> ClusterMean:
        """The mean over prompts, with what its interval rests on."""
        found = cluster_mean(self.prompt_means, self.clusters, self.bounds)
        return replace(found, scored=self.n, n_unscored=self.n_unscored)

    def of(self, prompts: Sequence[str]) -> Units:
        """The same for these prompts, in their order; a prompt that is not there is unscored."""
        if tuple(prompts) == self.prompts:
            return self
        rows = {prompt: row for row, prompt in enumerate(self.prompts)}
        index = np.array([rows.get(prompt, -1) for prompt in prompts], dtype=np.int64)
        values = np.where(index[:, None] >= 0, self.values[index], np.nan)
        return replace(self, prompts=tuple(prompts), values=values, clusters=self.clusters[index])

    def filled(self, value: float) -> Units:
        """The same with `value` in every unscored unit."""
        return replace(self, values=np.where(np.isfinite(self.values), self.values, value))


def _row_means(values: Floats) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def prompt_clusters(run: Run) -> Mapping[str, int]:
    """Prompt id -> its cluster, as a number (`bench.store.clusters`); the same numbers whatever the prompts' order."""
    return run.once("clusters", lambda: clusters_of(sorted(run.prompts), run.tags, run.cluster))


def noise_of(conditions: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What makes the noise of a run with these conditions, to be compared with another's; None where not on record."""
    if any(conditions.get(key) is None for key in _NEEDED):
        return None
    return tuple(json.dumps(conditions.get(key), sort_keys=True, default=str) for key in _NOISE)


def units_of(run: Run, metric: str) -> Units:
    """Of an image or group metric that the run was scored with; arrays that cannot be written to."""
    return run.once(("units", metric), lambda: _units(run, metric))


def _units(run: Run, metric: str) -> Units:
    facts, rows = run.metrics[metric], run.rows(metric)
    order = {prompt_id: row for row, (prompt_id, _) in enumerate(sorted(run.prompts))}
    index = rows["prompt_id"].map(order).fillna(-1).to_numpy(dtype=np.int64)
    samples = rows["sample"].fillna(0).to_numpy(dtype=np.int64)
    width = max(run.samples if facts.kind == "image" else 1, int(samples.max(initial=0)) + 1)
    values = np.full((len(order), width), np.nan)
    keep = index >= 0
    values[index[keep], samples[keep]] = rows["value"].to_numpy(dtype=np.float64)[keep]
    values[~np.isfinite(values)] = np.nan
    numbers = prompt_clusters(run)
    clusters = np.array([numbers[prompt_id] for prompt_id in order], dtype=np.int64)
    values.flags.writeable = clusters.flags.writeable = False  # all who ask have the same arrays
    noise, coupled = noise_of(run.conditions), COUPLED in run.conditions
    return Units(tuple(order), values, clusters, bounds_of(facts.card), noise, run.common, coupled)


def paired_by_sample(a: Units, b: Units) -> bool:
    """Whether a sample of one is the other's counterpart: made from the same noise, and from nothing else.

    Where the images of a prompt were coupled, a sample depends on its neighbours, so that whole prompts are pairs.
    """
    return a.noise is not None and a.noise == b.noise and not (a.coupled or b.coupled)


@dataclass(frozen=True)
class Pairing:
    """b - a over the units that both have. `gaps` units are scored on one side only."""

    estimate: ClusterMean
    differences: Floats = field(repr=False)  # [P, K] of pairs, or [P, 1] of prompts
    clusters: Ints = field(repr=False)
    gaps: int = 0
    lowest: ClusterMean | None = None  # with the gaps filled so that b - a is as small as it may be
    highest: ClusterMean | None = None  # and as large
    filled: str = ""  # what was filled in, as a clause
    sides: tuple[tuple[Units, Units], ...] = field(default=(), repr=False)  # a and b as paired; lowest; highest
    shared: bool = False  # the pairs are of single images, on the same noise

    @property
    def mean(self) -> float:
        """The mean difference of the pairs; NaN of none."""
        return self.estimate.mean

    def interval(self, level: float = 0.95) -> Interval:
        """The interval of the pairs' mean difference; the gaps are not in it."""
        found = self.estimate.interval(level)
        if not math.isnan(found.low) or found.clusters < 2:
            return found
        return replace(found, reason=f"no interval: both have equal values in all pairs of {found.clusters} prompts")

    @property
    def agree(self) -> bool:
        """Whether no pair differs by more than the rounding of another machine, and none has one side only.

        Of the same pictures scored otherwise (another scorer, say) the difference is what the scores say.
        """
        d, seen = self.differences, self.sides[0][0].seen if self.sides else None
        size = max(abs(seen.low), abs(seen.high)) if seen is not None else 0.0
        return not self.gaps and bool((np.abs(d[np.isfinite(d)]) <= 1e-5 * size).all())

    @property
    def same(self) -> bool:
        """Whether all pairs have the very same values, of a metric whose values do not repeat by chance.

        Of what is scored on one side only (`gaps`) that says nothing.
        """
        if not self.sides:
            return False
        a, b = self.sides[0]
        known = np.isfinite(a.prompt_means)  # of both: sides are what is paired
        before, after = a.prompt_means[known], b.prompt_means[known]
        if not known.any() or not np.allclose(before, after, rtol=1e-12, atol=0):
            return False
        _, index = np.unique(self.clusters[known], return_inverse=True)  # a text that is there twice repeats by itself
        sizes = np.bincount(index)
        first, second = (np.bincount(index, weights=means) / sizes for means in (before, after))
        return same_values(first, second, a.bounds or b.bounds)

    def least(self, level: float = 0.95) -> Interval:
        """The interval with the gaps filled so that b - a is as small as it may be."""
        return (self.lowest or self.estimate).interval(level)

    def most(self, level: float = 0.95) -> Interval:
        """The interval with the gaps filled so that b - a is as large as it may be."""
        return (self.highest or self.estimate).interval(level)

    def one_sided(self, at: float = 0.0) -> tuple[float, float]:
        """p of the claims that the true difference is above `at`, and below it, with the worst case in the gaps."""
        above, below = self.estimate.one_sided(at)
        if self.lowest is not None and self.highest is not None:
            above, below = max(above, self.lowest.one_sided(at)[0]), max(below, self.highest.one_sided(at)[1])
        return above, below

    def p(self, at: float = 0.0) -> float:
        """Two-sided, with the worst case in the gaps: what a mark rests on."""
        above, below = self.one_sided(at)
        return math.nan if math.isnan(above) else min(1.0, 2 * min(above, below))

    def paired(self, level: float = 0.95, *, identical: bool = False, win: bool = True) -> Paired:
        """Interval, p, wins and the smallest detectable difference of the pairs.

        `identical`: every pair is one picture in two places, so that the difference is 0 without any uncertainty.
        `win`: with the interval of the win rate.
        """
        d = self.differences
        wins, losses, known = int((d > 0).sum()), int((d < 0).sum()), int(np.isfinite(d).sum())
        counts = wins, known - wins - losses, losses
        shares = self._win_rate(known).interval(level) if win else None
        interval, p = self.interval(level), self.estimate.p()
        if (identical and self.agree and not self.estimate.n_unscored) or self.same:
            reason = identical_text(self.gaps)
            shares = shares and replace(shares, low=shares.mean, high=shares.mean)
            return Paired(replace(interval, mean=0.0, low=0.0, high=0.0, reason=reason), 1.0, *counts, math.nan, shares)
        return Paired(interval, p, *counts, minimum_detectable_effect(interval, level), shares)

    def _win_rate(self, known: int) -> ClusterMean:
        d = self.differences
        shares = _row_means(np.where(np.isfinite(d), (np.sign(d) + 1) / 2, np.nan))
        return replace(cluster_mean(shares, self.clusters, Bounds(0.0, 1.0)), scored=known)


def pair(a: Units, b: Units, seen: Bounds | None = None) -> Pairing:
    """b - a of one metric. `seen` are the extreme values of all runs compared (default: of these two).

    Sample by sample where the noise of both is the same (`paired_by_sample`), else prompt by prompt.
    """
    prompts = tuple(dict.fromkeys((*a.prompts, *b.prompts)))
    whole = b if set(prompts) == set(b.prompts) else a
    clusters = whole.of(prompts).clusters
    first, second = a.of(prompts), b.of(prompts)
    shared = paired_by_sample(a, b) and first.values.shape == second.values.shape
    bounds = a.bounds or b.bounds
    estimate, differences = _difference(first, second, shared, clusters, bounds)
    gaps = _gaps(first.values, second.values)
    if not gaps:
        return Pairing(estimate, differences, clusters, sides=(_paired(first, second, shared),), shared=shared)
    ends, filled = _fill(a, b, bounds, seen)
    low = _at(first, second, ends.high), _at(second, first, ends.low)
    high = _at(first, second, ends.low), _at(second, first, ends.high)
    sides = tuple(_paired(*one, shared) for one in ((first, second), low, high))
    (lowest, _), (highest, _) = (_difference(*one, shared, clusters, bounds) for one in (low, high))
    return Pairing(estimate, differences, clusters, gaps, lowest, highest, filled, sides, shared)


def _paired(a: Units, b: Units, shared: bool) -> tuple[Units, Units]:
    """Both sides with only the units that are paired."""
    both = (np.isfinite(a.prompt_means) & np.isfinite(b.prompt_means))[:, None]
    if shared:
        both = np.isfinite(a.values) & np.isfinite(b.values)
    first, second = (replace(one, values=np.where(both, one.values, np.nan)) for one in (a, b))
    return first, second


def _difference(a: Units, b: Units, shared: bool, clusters: Ints, bounds: Bounds | None) -> tuple[ClusterMean, Floats]:
    differences = b.values - a.values if shared else (b.prompt_means - a.prompt_means)[:, None]
    by_prompt = _row_means(differences)
    found = cluster_difference(np.zeros(by_prompt.size), by_prompt, clusters, bounds)
    scored = int(np.isfinite(differences).sum())
    if not shared:  # pairs of prompts rest on the samples of both sides
        paired = np.isfinite(by_prompt)
        scored = int(min(np.isfinite(one.values[paired]).sum() for one in (a, b)))
    expected = scored if a.common and b.common else max(a.values.size, b.values.size)
    return replace(found, scored=scored, n_unscored=expected - scored), differences


def _gaps(a: Floats, b: Floats) -> int:
    """Units that are scored on one side only; prompts, where one side has only the means of prompts."""
    first, second = np.isfinite(a), np.isfinite(b)
    if a.shape != b.shape:
        return int((first.all(axis=1) != second.all(axis=1)).sum())
    return int((first != second).sum())


def _at(units: Units, other: Units, value: float) -> Units:
    """With `value` in the units that only the other side has."""
    if units.values.shape != other.values.shape:
        return units.filled(value)
    gap = ~np.isfinite(units.values) & np.isfinite(other.values)
    return replace(units, values=np.where(gap, value, units.values))


def _fill(a: Units, b: Units, bounds: Bounds | None, seen: Bounds | None) -> tuple[Bounds, str]:
    return worst_case(bounds, [one for one in (a.seen, b.seen, seen) if one is not None])
