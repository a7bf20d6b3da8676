"""Metrics against people: how often a metric prefers what people prefer, and what its scores add to few votes.

Scores are compared with their direction: a positive difference says that the metric holds a for better. Image metrics
are held against preference and alignment, group metrics (diversity) against diversity. A vote whose pictures have no
score is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.analysis.estimand import units_of
from bench.analysis.stats import Interval
from bench.store.runs import Run
from bench.study.ballots import Ballots, Floats
from bench.study.metric_agreement import Against, measured
from bench.study.ppi import Powered, ppi_mean
from bench.study.votes import Item

KINDS = {"preference": "image", "alignment": "image", "diversity": "group"}


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
    why = "prediction-powered intervals are not made of an adaptive study, whose votes have weights" if adaptive else ""
    powered = {} if adaptive else scores.powered(votes.where(known), d[known])
    return replace(measured(votes, d, metric, task, items), powered=powered, why_not_powered=why)


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
