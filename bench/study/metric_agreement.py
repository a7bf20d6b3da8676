"""How far the differences of one metric agree with votes: accuracy, rank correlations, calibration. Pure.

A difference is a - b of a vote, with the metric's direction: positive where the metric holds a for better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.analysis.ratios import pseudo_interval, pseudo_values
from bench.analysis.stats import Interval
from bench.study.ballots import Ballots, Floats, Ints
from bench.study.clusters import share_interval, two_way
from bench.study.ppi import Powered
from bench.study.votes import Item

MOST_SHOWN = 8
MOST_LEFT_OUT = 400
"""Jackknife values of a correlation; beyond, prompts are left out in so many groups."""
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
    equal: int = 0  # votes on what the metric holds for equal: half right, and in no bin
    why_not_powered: str = ""


def measured(votes: Ballots, d: Floats, metric: str, task: str, items: Mapping[str, Item]) -> Against:
    """A metric whose differences are `d` [N] against the votes [N]; votes whose difference is NaN are left out."""
    known = np.isfinite(d)
    kept, d = votes.where(known), d[known]
    accuracy, per_item = _accuracy(kept, d), _Items(kept, d)
    return Against(
        metric=metric,
        task=task,
        accuracy=accuracy,
        tau=per_item.correlation(_tau),
        spearman=per_item.correlation(_spearman),
        bins=_bins(kept, d),
        disagreements=per_item.disagreements(items),
        unscored=int((~known).sum()),
        equal=int((d == 0).sum()),
    )


def rightness(votes: Ballots, d: Floats) -> Floats:
    """1 where the winner of a decided vote is the metric's favourite, 0 where not, half where it has none [N]."""
    return np.asarray(0.5 + 0.5 * np.sign(d) * np.where(votes.y == 1, 1.0, -1.0))


def _accuracy(votes: Ballots, d: Floats) -> Interval:
    """The share of decided votes for the metric's favourite; where it has none, half."""
    decided = votes.y != 0.5
    kept = votes.where(decided)
    if not len(kept):
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, "no vote is decided and scored")
    return _share(rightness(kept, d[decided]), kept)


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
        """Over items, each both ways round, as which method is called a is arbitrary.

        The interval is a jackknife over prompts, over groups of them where there are many.
        """

        def over(keep: Bools) -> float:
            d, y = self.d[keep], self.y[keep] - 0.5
            return of(np.concatenate([d, -d]), np.concatenate([y, -y]))

        prompts = np.unique(self.prompts)
        if len(self.d) < 3 or len(prompts) < 3:
            return Interval(math.nan, math.nan, math.nan, len(self.d), 0, len(prompts), "fewer than three prompts")
        whole = over(np.ones(len(self.d), dtype=bool))
        group = np.searchsorted(prompts, self.prompts) % min(len(prompts), MOST_LEFT_OUT)
        left_out = np.array([over(group != index) for index in range(min(len(prompts), MOST_LEFT_OUT))])
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

    The slope of a vote is fitted on the prompts of the other folds, so that no vote predicts itself. Where the metric
    has no favourite it predicts nothing, and one half would be right by definition: these votes are in no bin.
    """
    votes, d = votes.where(d != 0), d[d != 0]
    prompts, index = np.unique(votes.prompts, return_inverse=True)
    folds = min(_FOLDS, len(prompts))
    if folds < 2:
        return ()
    scale, predicted = float(np.sqrt(np.mean(d**2))), np.zeros(len(d))
    x = d / scale
    for fold in range(folds):
        here = index % folds == fold
        predicted[here] = 1 / (1 + np.exp(-np.clip(_slope(x[~here], votes.y[~here]) * np.abs(x[here]), -30, 30)))
    observed = np.where(d > 0, votes.y, 1 - votes.y)
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
