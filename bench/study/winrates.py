"""Win rates with ties as half: of each pair, and of each method against the mean of the others. Pure.

Intervals are clustered by rater and prompt (`bench.study.clusters`). Holm's correction covers the pairs of a task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.stats import Interval, holm
from bench.study.ballots import Ballots, Floats
from bench.study.clusters import Spread, share_interval, share_p, two_way

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often `a` won over `b`, in [0, 1], ties as half. `p_holm` < 0.05: surely more or less than half."""

    a: str
    b: str
    rate: Interval
    wins: int
    ties: int
    losses: int
    raters: int
    prompts: int
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def votes(self) -> int:
        """How many votes the pair has."""
        return self.wins + self.ties + self.losses

    @property
    def winner(self) -> str:
        """The method that surely won; "" where it is undecided."""
        if not self.p_holm < ALPHA:
            return ""
        return self.a if self.rate.mean > 0.5 else self.b


def rate_of(votes: Ballots, level: float = 0.95) -> tuple[Interval, float]:
    """The win rate of a over b over votes of one pair [N], and its p value against one half."""
    share, spread = _share(votes)
    return share_interval(share, spread, len(votes), level), share_p(share, spread)


def _share(votes: Ballots) -> tuple[float, Spread]:
    total = float(votes.weights.sum())
    share = float(votes.weights @ votes.y / total) if total > 0 else math.nan
    return share, two_way(votes.weights * (votes.y - share) / total, votes.raters, votes.prompts)


def win_rates(votes: Ballots, level: float = 0.95) -> list[WinRate]:
    """Each pair that has votes, in the order of the methods, Holm's correction over all of them."""
    found = []
    for i, j in votes.pairs:
        of_pair = votes.of_pair(i, j)
        rate, p = rate_of(of_pair, level)
        wins, ties, losses = (int(np.sum(of_pair.y == outcome)) for outcome in (1.0, 0.5, 0.0))
        raters, prompts = len(np.unique(of_pair.raters)), len(np.unique(of_pair.prompts))
        names = (votes.methods[i], votes.methods[j])
        found.append(WinRate(*names, rate, wins, ties, losses, raters, prompts, p))
    corrected = holm([one.p for one in found]).tolist()
    return [replace(one, p_holm=value) for one, value in zip(found, corrected, strict=True)]


def method_rates(votes: Ballots, level: float = 0.95) -> dict[str, Interval]:
    """Per method its win rate against the others: the mean of its pairs' win rates, each pair weighing the same."""
    return {name: _of_method(votes, i, level) for i, name in enumerate(votes.methods)}


def _of_method(votes: Ballots, method: int, level: float) -> Interval:
    own = votes.where((votes.a == method) | (votes.b == method))
    y = np.where(own.a == method, own.y, 1 - own.y)
    other = np.where(own.a == method, own.b, own.a)
    opponents = np.unique(other)
    influence: Floats = np.zeros(len(own))
    rates = []
    for opponent in opponents:
        here = other == opponent
        total = own.weights[here].sum()
        rates.append(float(own.weights[here] @ y[here] / total))
        influence[here] = own.weights[here] * (y[here] - rates[-1]) / total / len(opponents)
    share = float(np.mean(rates))
    return share_interval(share, two_way(influence, own.raters, own.prompts), len(own), level)
