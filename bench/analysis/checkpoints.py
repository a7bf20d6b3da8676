"""Methods over training seeds: which runs are checkpoints of one method, and what they say of the METHOD.

A run is one checkpoint. Where a suite names `replicates`, the runs of a method that differ in nothing but the tuned
weights are grouped: a mean is over all checkpoints and prompts, its interval that of `bench.analysis.replicates`. With
one checkpoint nothing can be said of training again, and the reason of the interval says so.

A prompt counts where every checkpoint has a value for it, as otherwise checkpoints would be compared on other prompts;
how many are left out is said, and a difference of two methods that were scored on other prompts carries no mark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.bounded import Bounds
from bench.analysis.differences import Difference
from bench.analysis.estimand import Units, units_of
from bench.analysis.extrapolation import features_of, not_estimable
from bench.analysis.ratios import pseudo_values
from bench.analysis.replicates import (
    TwoWay,
    blocks_two_way,
    blocks_two_way_difference,
    two_way,
    two_way_difference,
)
from bench.analysis.stats import Floats, Interval, Paired
from bench.analysis.summary import left_out_values, metric_interval
from bench.store.runs import MetricFacts, Run
from bench.store.select import display_names

_GAPS = "not all checkpoints were scored on the same images, so nothing is decided"


@dataclass(frozen=True)
class MethodRuns:
    """The checkpoints of one method, each once, in the order of the suite's replicates."""

    name: str
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it has tuned weights, so that it could be trained again."""
        return self.runs[0].checkpoint is not None

    @property
    def several(self) -> bool:
        """Whether there is more than one checkpoint."""
        return len(self.runs) > 1


def method_groups(runs: Sequence[Run]) -> tuple[MethodRuns, ...]:
    """The methods of comparable runs, in the order of their first run; a run without replicates is one by itself."""
    shown = display_names(runs)
    members: dict[tuple[str, str], list[tuple[str, Run]]] = {}
    for run, name in zip(runs, shown, strict=True):
        one = run.checkpoint
        key = (one.of, one.recipe) if one is not None and one.replicates else (name, "")
        members.setdefault(key, []).append((name, run))
    names = [of for of, _ in members]
    return tuple(
        _group(of if names.count(of) == 1 and len(found) > 1 else found[0][0], [run for _, run in found])
        for (of, _), found in members.items()
    )


def _group(name: str, runs: Sequence[Run]) -> MethodRuns:
    declared = next((run.checkpoint.replicates for run in runs if run.checkpoint is not None), ())
    order = {weights: number for number, weights in enumerate(declared)}
    ordered = sorted(runs, key=lambda run: order.get(run.checkpoint.weights if run.checkpoint else "", len(order)))
    kept: list[Run] = []
    notes: list[str] = []
    for run in ordered:
        other = next((one for one in kept if _same_training(one, run)), None)
        if other is None:
            kept.append(run)
        else:
            notes.append(f"{name}: {run.name} has the same weights as {other.name} and counts as the same checkpoint")
    there = {run.checkpoint.weights for run in kept if run.checkpoint is not None}
    missing = [weights for weights in declared if weights not in there]
    if missing and len(kept) > 1:
        which = ", ".join(missing)
        notes.append(f"{name}: {len(kept)} of {len(declared)} replicates are here, without {which}")
    return MethodRuns(name, tuple(kept), tuple(notes))


def _same_training(a: Run, b: Run) -> bool:
    """Whether two runs have the same tuned weights, or the very same pictures."""
    if a.checkpoint is None or b.checkpoint is None:
        return False
    return a.checkpoint.digest == b.checkpoint.digest or (a.pictures != "" and a.pictures == b.pictures)


@dataclass(frozen=True)
class OverCheckpoints:
    """Values of one metric of one method [checkpoints, prompts or blocks of them]; NaN: not scored."""

    values: Floats
    clusters: np.ndarray
    units: tuple[Units, ...] = ()  # of an image or group metric, one a checkpoint
    images: int = 0  # of a set metric, N
    reason: str = ""  # why there is nothing

    @property
    def bounds(self) -> Bounds | None:
        """The metric's range, of an image or group metric."""
        return self.units[0].bounds if self.units else None


def values_of(group: MethodRuns, metric: str, *, differ: bool = False) -> OverCheckpoints:
    """`differ`: as differences are made of, where a Frechet distance is read at infinitely many images."""
    lacking = [run.name for run in group.runs if metric not in run.metrics]
    if lacking:
        return _nothing(f"not scored for {', '.join(lacking)}")
    if group.runs[0].metrics[metric].kind == "set":
        return _blocks(group, metric, differ)
    units = [units_of(run, metric) for run in group.runs]
    prompts = tuple(sorted(dict.fromkeys(prompt for one in units for prompt in one.prompts)))
    aligned = [one.of(prompts) for one in units]
    return OverCheckpoints(np.stack([one.prompt_means for one in aligned]), aligned[0].clusters, tuple(aligned))


def _nothing(reason: str) -> OverCheckpoints:
    return OverCheckpoints(np.zeros((1, 0)), np.zeros(0), (), 0, reason)


def _blocks(group: MethodRuns, metric: str, differ: bool) -> OverCheckpoints:
    """Of a set metric the jackknife's pseudo-values, which behave like values of the blocks of prompts."""
    facts, sizes = group.runs[0].metrics[metric], {run.n_images for run in group.runs}
    left_out = [left_out_values(run, metric) for run in group.runs]
    wholes = [metric_interval(run, metric).mean for run in group.runs]
    if len(sizes) > 1:
        return _nothing(f"N differs between the checkpoints ({', '.join(f'{n:,}' for n in sorted(sizes))})")
    features = features_of(facts.card)
    if differ and (why := not_estimable(features, min(sizes))):
        return _nothing(why)
    if len({len(one) for one in left_out}) > 1 or len(left_out[0]) < 2 or not np.isfinite(wholes).all():
        return _nothing("not every checkpoint has a value for each block of prompts")
    pairs = list(zip(wholes, map(np.asarray, left_out), strict=True))
    if differ and features is not None:
        values = np.stack([one.size * whole - (one.size - 1) * one for whole, one in pairs])
    else:
        values = np.stack([pseudo_values(whole, one) for whole, one in pairs])
    return OverCheckpoints(values, np.arange(values.shape[1]), (), min(sizes))


def method_interval(group: MethodRuns, metric: str, level: float = 0.95) -> Interval:
    """Mean of a metric over all checkpoints and prompts, with the interval of the METHOD where there are several."""
    found = values_of(group, metric)
    everywhere = np.asarray(np.isfinite(found.values).all(axis=0))
    if not everywhere.any():
        reason = found.reason or "no prompt is scored for every checkpoint"
        return Interval(math.nan, math.nan, math.nan, 0, int(found.values.size), 0, reason)
    interval = _two_way(found, everywhere, group.trained).interval(level)
    return replace(interval, n_unscored=int((~everywhere).sum()))


def _two_way(found: OverCheckpoints, kept: np.ndarray, trained: bool) -> TwoWay:
    if not found.units:
        return blocks_two_way(found.values, found.images * len(found.values), trained=trained)
    return two_way(found.values[:, kept], found.clusters[kept], found.bounds, trained=trained)


def method_difference(a: MethodRuns, b: MethodRuns, metric: str) -> Difference:
    """b - a of two methods over their checkpoints and the prompts that all of them have, as one test."""
    facts = next(run.metrics[metric] for run in (*a.runs, *b.runs) if metric in run.metrics)
    first, second = (values_of(one, metric, differ=True) for one in (a, b))
    means = method_interval(a, metric).mean, method_interval(b, metric).mean
    reason = first.reason or second.reason
    if not reason and first.values.shape[1] != second.values.shape[1]:
        reason = "the methods have other prompts"
    if not reason and first.images != second.images:
        reason = f"N differs ({first.images:,} and {second.images:,})"
    known = [np.asarray(np.isfinite(one.values).all(axis=0)) for one in (first, second)]
    if not reason and not (known[0] & known[1]).any():
        reason = "no prompt is scored for every checkpoint"
    if reason:
        return _without(facts, means, reason)
    return _difference(facts, means, (first, second), (known[0], known[1]), (a.trained, b.trained))


def _difference(
    facts: MetricFacts,
    means: tuple[float, float],
    sides: tuple[OverCheckpoints, OverCheckpoints],
    known: tuple[np.ndarray, np.ndarray],
    trained: tuple[bool, bool],
) -> Difference:
    both = known[0] & known[1]
    a, b = (one.values[:, both] for one in sides)
    if sides[0].units:
        found = two_way_difference(a, b, sides[0].clusters[both], sides[0].bounds, trained=trained)
    else:
        found = blocks_two_way_difference(a, b, sides[0].images * min(map(len, (a, b))), trained=trained)
    # What was scored for one checkpoint only must never help: then there is no p, and so no mark.
    scored = [np.isfinite(one.values) for side in sides for one in side.units]
    gaps = any(not np.array_equal(scored[0], one) for one in scored)
    changes = b.mean(axis=0) - a.mean(axis=0)
    interval = replace(found.interval(), n_unscored=int((~both).sum()))
    if gaps:
        interval = replace(interval, reason=_GAPS)
    wins, losses = int((changes > 0).sum()), int((changes < 0).sum())
    counts = (wins, changes.size - wins - losses, losses) if sides[0].units else (0, 0, 0)
    return Difference(facts, *means, Paired(interval, math.nan if gaps else found.p(), *counts))


def _without(facts: MetricFacts, means: tuple[float, float], reason: str) -> Difference:
    interval = Interval(means[1] - means[0], math.nan, math.nan, 0, 0, 0, reason)
    return Difference(facts, *means, Paired(interval, math.nan, 0, 0, 0))
