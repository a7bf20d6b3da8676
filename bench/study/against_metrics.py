"""Metrics against people: how often a metric prefers what people prefer, and what its scores add to few votes.

Scores are compared with their direction: a positive difference says that the metric holds a for better. Image metrics
are held against preference and alignment, group metrics (diversity) against diversity. A vote whose pictures have no
score is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.analysis.estimand import units_of
from bench.analysis.ratios import pseudo_interval, pseudo_values
from bench.analysis.stats import Interval
from bench.store.runs import Run
from bench.study.ballots import Ballots, Floats, Ints
from bench.study.clusters import share_interval, two_way
from bench.study.ppi import Powered, ppi_mean
from bench.study.votes import Item

KINDS = {"preference": "image", "alignment": "image", "diversity": "group"}
MOST_SHOWN = 8
_BINS, _FOLDS = 5, 5

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """Votes whose metric is about equally sure: the share that it predicts for its favourite, and the observed one."""

    predicted: float
    observed: Interval


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item of which people and the metric surely say the contrary: `won` of `votes` votes for `people`."""

    item: str
    prompt_id: str
    prompt: str
    sample: int | None
    people: str
    metric: str
    won: float
    votes: int
    difference: float  # by how much the metric holds the other for better, in standard deviations of its differences


@dataclass(frozen=True, slots=True)
class Against:
    """One metric against the votes of one task."""

    metric: str
    task: str
    accuracy: Interval  # of votes without ties, how many are for the metric's favourite, in [0, 1]
    tau: Interval  # Kendall's tau-b over items
    spearman: Interval
    bins: tuple[Bin, ...]
    powered: Mapping[tuple[str, str], Powered] = field(default_factory=dict)
    disagreements: tuple[Disagreement, ...] = ()
    unscored: int = 0  # votes left out
    why_not_powered: str = ""


def against_metrics(
    votes: Ballots, task: str, items: Mapping[str, Item], runs: Mapping[str, Run], *, adaptive: bool = False
) -> list[Against]:
    """Every metric that all methods of the votes were scored with, in the order of the first run.

    `runs` by the names of the methods of the votes; [] where one of them is missing.
    """
    if any(name not in runs for name in votes.methods):
        return []
    own = [runs[name] for name in votes.methods]
    names = [
        name
        for name, facts in own[0].metrics.items()
        if facts.kind == KINDS.get(task) and all(name in run.metrics for run in own)
    ]
    return [_against(votes, task, items, own, name, adaptive) for name in names]


def _against(
    votes: Ballots, task: str, items: Mapping[str, Item], runs: Sequence[Run], metric: str, adaptive: bool
) -> Against:
    scores = Scores(votes, items, runs, metric)
    d = scores.of_votes()
    known = np.isfinite(d)
    kept, d = votes.where(known), d[known]
    accuracy, per_item = _accuracy(kept, d), _Items(kept, d)
    why = "prediction-powered intervals are not made of an adaptive study, whose votes have weights" if adaptive else ""
    return Against(
        metric=metric,
        task=task,
        accuracy=accuracy,
        tau=per_item.correlation(_tau),
        spearman=per_item.correlation(_spearman),
        bins=_bins(kept, d),
        powered={} if adaptive else scores.powered(kept, d),
        disagreements=per_item.disagreements(items),
        unscored=int((~known).sum()),
        why_not_powered=why,
    )


class Scores:
    """The differences of one metric between methods, with its direction, by prompt and sample."""

    def __init__(self, votes: Ballots, items: Mapping[str, Item], runs: Sequence[Run], metric: str) -> None:
        self.votes, self.items = votes, items
        sign = 1.0 if runs[0].metrics[metric].higher else -1.0
        units = [units_of(run, metric) for run in runs]
        self.prompts = units[0].prompts
        self.clusters = units[0].clusters
        width = max(unit.values.shape[1] for unit in units)
        self.values = [sign * _padded(unit.of(self.prompts).values, width) for unit in units]
        self.row = {prompt: row for row, prompt in enumerate(self.prompts)}

    def _cell(self, vote: int) -> tuple[int, int | None]:
        """(row, sample) of a vote; row -1 where its prompt is in no run, sample None: the mean of the prompt."""
        item = self.items.get(self.votes.items[vote]) if self.votes.items else None
        sample = item.sample if item is not None else None
        return self.row.get(self.votes.prompt_names[self.votes.prompts[vote]], -1), sample

    def of_votes(self) -> Floats:
        """a - b of every vote [N]; NaN where there is no score."""
        found = np.full(len(self.votes), np.nan)
        for vote in range(len(self.votes)):
            row, sample = self._cell(vote)
            if row >= 0 and (sample is None or sample < self.values[0].shape[1]):
                a, b = (self.values[int(index)][row] for index in (self.votes.a[vote], self.votes.b[vote]))
                found[vote] = np.mean(a - b) if sample is None else a[sample] - b[sample]
        return found

    def powered(self, votes: Ballots, d: Floats) -> dict[tuple[str, str], Powered]:
        """Win rates of all pairs, with the sign of the metric's difference as the prediction.

        Without a label are all pictures (sets) of both methods that nobody was asked about.
        """
        asked: dict[tuple[int, int], set[tuple[int, int | None]]] = {pair: set() for pair in votes.pairs}
        position = {item: n for n, item in enumerate(self.votes.items)}
        for n in range(len(votes)):
            asked[int(votes.a[n]), int(votes.b[n])].add(self._cell(position[votes.items[n]]))
        found = {}
        for a, b in votes.pairs:
            here = (votes.a == a) & (votes.b == b)
            per_sample = any(sample is not None for _, sample in asked[a, b])
            table = self.values[a] - self.values[b]
            table = table if per_sample else np.mean(table, axis=1, keepdims=True)
            rest = [
                (row, k)
                for row, k in np.argwhere(np.isfinite(table)).tolist()
                if (row, k if per_sample else None) not in asked[a, b]
            ]
            predictions = np.array([_sign(table[row, k]) for row, k in rest])
            names = np.array([self.votes.prompt_names[p] for p in votes.prompts[here]])
            prompts = np.array([self.clusters[self.row[name]] for name in names])
            others = np.array([self.clusters[row] for row, _ in rest], dtype=np.int64)
            f = np.array([_sign(value) for value in d[here]])
            found[votes.methods[a], votes.methods[b]] = _as_share(
                ppi_mean(votes.y[here], f, predictions, prompts, others, votes.raters[here])
            )
        return found


def _padded(values: Floats, width: int) -> Floats:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=np.nan)


def _as_share(found: Powered) -> Powered:
    """Nothing of a win rate lies outside [0, 1]."""

    def within(one: Interval) -> Interval:
        mean, low, high = (min(1.0, max(0.0, value)) for value in (one.mean, one.low, one.high))
        return replace(one, mean=mean, low=low, high=high) if math.isfinite(one.low) else replace(one, mean=mean)

    return replace(found, estimate=within(found.estimate), classical=within(found.classical))


def _sign(value: float) -> float:
    return 0.5 + 0.5 * float(np.sign(value))


def _accuracy(votes: Ballots, d: Floats) -> Interval:
    """The share of decided votes for the metric's favourite; where it has none, half."""
    decided = votes.y != 0.5
    kept = votes.where(decided)
    if not len(kept):
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, "no vote is decided and scored")
    right = 0.5 + 0.5 * np.sign(d[decided]) * np.where(kept.y == 1, 1.0, -1.0)
    return _share(right, kept)


def _share(values: Floats, votes: Ballots) -> Interval:
    weight = votes.weights / votes.weights.sum()
    share = float(weight @ values)
    return share_interval(share, two_way(weight * (values - share), votes.raters, votes.prompts), len(values))


class _Items:
    """Votes gathered by item: mean outcome, difference of the metric, prompt."""

    def __init__(self, votes: Ballots, d: Floats) -> None:
        keys = votes.items or tuple(map(str, zip(votes.prompts, votes.a, votes.b, strict=True)))
        self.names, first, index = np.unique(np.array(keys, dtype=str), return_index=True, return_inverse=True)
        self.votes: Ints = np.bincount(index, minlength=len(self.names))
        self.y: Floats = np.bincount(index, weights=votes.y, minlength=len(self.names)) / np.maximum(self.votes, 1)
        self.d: Floats = d[first]
        self.prompts, self.pair = votes.prompts[first], [(int(votes.a[n]), int(votes.b[n])) for n in first]
        self.methods = votes.methods

    def correlation(self, of: Callable[[Floats, Floats], float]) -> Interval:
        """Over items, each both ways round, as which method is called a is arbitrary; a jackknife over prompts."""

        def over(keep: Bools) -> float:
            d, y = self.d[keep], self.y[keep] - 0.5
            return of(np.concatenate([d, -d]), np.concatenate([y, -y]))

        prompts = np.unique(self.prompts)
        if len(self.d) < 3 or len(prompts) < 3:
            return Interval(math.nan, math.nan, math.nan, len(self.d), 0, len(prompts), "fewer than three prompts")
        whole = over(np.ones(len(self.d), dtype=bool))
        left_out = np.array([over(self.prompts != prompt) for prompt in prompts])
        if not math.isfinite(whole) or not np.isfinite(left_out).all():
            why = "all items have the same score or the same outcome"
            return Interval(math.nan, math.nan, math.nan, len(self.d), 0, len(prompts), why)
        found = pseudo_interval(pseudo_values(whole, left_out))
        low, high = max(-1.0, found.low), min(1.0, found.high)
        return Interval(whole, low, high, len(self.d), 0, len(prompts), found.reason)

    def disagreements(self, items: Mapping[str, Item]) -> tuple[Disagreement, ...]:
        """Where at least two thirds of the votes are against the metric, the largest differences first."""
        scale = float(np.sqrt(np.mean(self.d**2))) if len(self.d) else 0.0
        against = (np.sign(self.d) * (self.y - 0.5) < 0) & (np.abs(self.y - 0.5) >= 1 / 6)
        found = []
        for n in sorted(np.flatnonzero(against), key=lambda n: -abs(self.d[n]) * abs(self.y[n] - 0.5))[:MOST_SHOWN]:
            a, b = (self.methods[index] for index in self.pair[n])
            people, metric = (a, b) if self.y[n] > 0.5 else (b, a)
            item = items.get(str(self.names[n]))
            won = float(max(self.y[n], 1 - self.y[n]) * self.votes[n])
            where = (item.prompt_id, item.prompt, item.sample) if item is not None else ("", "", None)
            difference = float(abs(self.d[n]) / scale)
            found.append(Disagreement(str(self.names[n]), *where, people, metric, won, int(self.votes[n]), difference))
        return tuple(found)


def _tau(x: Floats, y: Floats) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else math.nan


def _spearman(x: Floats, y: Floats) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else math.nan


def _bins(votes: Ballots, d: Floats) -> tuple[Bin, ...]:
    """Calibration: bins of equal size by the share that 1 / (1 + exp(-slope |d|)) predicts for the favourite.

    The slope of a vote is fitted on the prompts of the other folds, so that no vote predicts itself.
    """
    prompts, index = np.unique(votes.prompts, return_inverse=True)
    folds = min(_FOLDS, len(prompts))
    if folds < 2 or not np.any(d):
        return ()
    scale, predicted = float(np.sqrt(np.mean(d**2))), np.zeros(len(d))
    x = d / scale
    for fold in range(folds):
        here = index % folds == fold
        predicted[here] = 1 / (1 + np.exp(-np.clip(_slope(x[~here], votes.y[~here]) * np.abs(x[here]), -30, 30)))
    observed = np.where(d > 0, votes.y, np.where(d < 0, 1 - votes.y, 0.5))
    order = np.argsort(predicted, kind="stable")
    found = []
    for rows in np.array_split(order, min(_BINS, max(1, len(order) // 10))):
        keep = np.zeros(len(d), dtype=bool)
        keep[rows] = True
        found.append(Bin(float(predicted[keep].mean()), _share(observed[keep], votes.where(keep))))
    return tuple(found)


def _slope(x: Floats, y: Floats) -> float:
    """Logistic regression of outcomes (ties half) on differences, without an intercept; within [-20, 20]."""
    slope = 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(slope * x, -30, 30)))
        curvature = float(np.sum(x * x * p * (1 - p))) + 1e-6
        step = float(np.sum(x * (y - p))) / curvature
        slope = min(20.0, max(-20.0, slope + max(-2.0, min(2.0, step))))
        if abs(step) < 1e-9:
            break
    return slope
