"""Raters who fail checks or answer like a coin: kept, marked, and told with their share. Pure.

Each rater is one of two kinds: attentive, or a spammer, who answers without looking: either side at random, or always
the same. The evidence is a log likelihood ratio, the sum of three:

- checks, whose right answer is known: an attentive rater errs on `SLIP` of them, a spammer on one half;
- repeated items that were decided twice: an attentive rater decides for the same method in `SAME` of them, a spammer as
  its habit has it;
- votes that are no ties: how often all other raters were for that method of the pair, against the spammer's habit.
  These count `TEMPER`, as tastes differ more than the mean of the others says.

How often somebody has a tie is a matter of taste and no evidence, but a tie on a check is an error.

The share of spammers maximises the likelihood of all raters (a mixture of two components whose densities are given;
EM, Dempster, Laird & Rubin 1977), its interval is by likelihood ratio. Who is a spammer with more than one half is
marked. No rater is dropped: the report has every result twice, with all and without the marked.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.stats import Interval
from bench.study.ballots import Floats
from bench.study.votes import Item, Vote

SLIP, SAME, TEMPER = 0.08, 0.8, 0.5
_HABITS = ((0.8, 0.5), (0.1, 0.95), (0.1, 0.05))  # prior, and the probability of the left side
_BOUND = 1.92  # half of chi-squared's 95 % quantile with one degree of freedom


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater: what speaks for and against, and `spam`, the probability of being a spammer."""

    rater: str
    votes: int
    checks: int
    failed: int
    repeats: int
    same: int
    evidence: float  # log likelihood ratio: positive speaks for a spammer
    spam: float
    seconds: float  # median per vote; NaN where unknown

    @property
    def marked(self) -> bool:
        """More likely a spammer than not."""
        return self.spam > 0.5


@dataclass(frozen=True, slots=True)
class Raters:
    """All raters by name, and the share of spammers among them, in [0, 1], with its interval."""

    raters: tuple[Rater, ...]
    share: Interval

    @property
    def marked(self) -> tuple[str, ...]:
        """The raters who are more likely spammers than not."""
        return tuple(rater.rater for rater in self.raters if rater.marked)

    @property
    def told(self) -> bool:
        """Whether there surely are spammers."""
        return self.share.low > 0


def judge_raters(votes: Sequence[Vote], items: Mapping[str, Item]) -> Raters:
    """All raters of the votes (all tasks together), practice left out."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.kind != "practice":
            by_rater[vote.rater].append(vote)
    consensus = _Consensus(votes)
    found = [_rater(name, by_rater[name], items, consensus) for name in sorted(by_rater)]
    evidence = np.array([one.evidence for one in found])
    share, low, high = _mixture(evidence)
    prior = min(share, len(found) / (len(found) + 1))  # a share of 1 is no certainty about anybody
    raters = []
    for one in found:
        ratio = prior / (1 - prior) * math.exp(min(one.evidence, 500.0))
        raters.append(replace(one, spam=ratio / (1 + ratio)))
    return Raters(tuple(raters), Interval(share, low, high, len(found), 0, len(found)))


class _Consensus:
    """How often all but one rater were for the first method of a pair (of a task), ties left out."""

    def __init__(self, votes: Sequence[Vote]) -> None:
        self.totals: dict[tuple[str, str, str], Floats] = defaultdict(lambda: np.zeros(2))
        self.own: dict[tuple[str, str, str, str], Floats] = defaultdict(lambda: np.zeros(2))
        for vote in votes:
            if vote.kind == "real" and vote.outcome != 0.5:
                key, second = self.key(vote)
                self.totals[key][second] += 1
                self.own[vote.rater, *key][second] += 1

    @staticmethod
    def key(vote: Vote) -> tuple[tuple[str, str, str], int]:
        """The pair in the order of names, and which of the two won: 0 or 1."""
        first, second = sorted((vote.method_a, vote.method_b))
        return (vote.task, first, second), int((vote.outcome == 1.0) != (vote.method_a == first))

    def chance(self, vote: Vote) -> float:
        """How likely the decision is by those of the others, smoothed with one vote each way."""
        key, winner = self.key(vote)
        others = self.totals[key] - self.own[vote.rater, *key]
        return float((others[winner] + 1) / (others.sum() + 2))


def _left_won(vote: Vote) -> bool:
    return (vote.outcome == 1.0) == (vote.left == vote.method_a)


def _rater(name: str, votes: Sequence[Vote], items: Mapping[str, Item], consensus: _Consensus) -> Rater:
    real = [vote for vote in votes if vote.kind == "real"]
    checks = [(vote, right) for vote in votes if vote.kind == "check" and (right := _right(vote, items)) is not None]
    failed = sum(vote.outcome != right for vote, right in checks)
    first = {vote.item: vote for vote in real}
    again = [(vote, first.get(_original(vote, items))) for vote in votes if vote.kind == "repeat"]
    pairs = [(vote, before) for vote, before in again if before is not None]
    same = sum(_same(vote, before) for vote, before in pairs)
    decided = [vote for vote in real if vote.outcome != 0.5]
    twice = [(vote, before) for vote, before in pairs if 0.5 not in (vote.outcome, before.outcome)]
    kept = sum(_same(vote, before) for vote, before in twice)
    attentive = sum(math.log(consensus.chance(vote)) for vote in decided)
    evidence = TEMPER * (_habit(decided) - attentive)
    evidence += _habit([vote for vote, _ in twice]) - kept * math.log(SAME) - (len(twice) - kept) * math.log(1 - SAME)
    evidence += failed * math.log(0.5 / SLIP) + (len(checks) - failed) * math.log(0.5 / (1 - SLIP))
    seconds = [vote.seconds for vote in real if math.isfinite(vote.seconds)]
    median = float(np.median(seconds)) if seconds else math.nan
    return Rater(name, len(real), len(checks), failed, len(pairs), same, evidence, math.nan, median)


def _habit(decided: Sequence[Vote]) -> float:
    """Log likelihood of the sides that were chosen by somebody who does not look."""
    left = sum(map(_left_won, decided))
    right = len(decided) - left
    terms = [math.log(prior) + left * math.log(p) + right * math.log(1 - p) for prior, p in _HABITS]
    return float(np.logaddexp.reduce(terms))


def _right(vote: Vote, items: Mapping[str, Item]) -> float | None:
    item = items.get(vote.item)
    return None if item is None else item.check


def _original(vote: Vote, items: Mapping[str, Item]) -> str:
    item = items.get(vote.item)
    return (item.repeated_of if item is not None else None) or vote.item


def _same(vote: Vote, before: Vote) -> bool:
    return before.outcome == (vote.outcome if vote.method_a == before.method_a else 1 - vote.outcome)


def _mixture(evidence: Floats) -> tuple[float, float, float]:
    """The share of spammers that is most likely, and its limits by likelihood ratio, on a grid of 1/2000."""
    if not len(evidence):
        return math.nan, math.nan, math.nan
    grid = np.linspace(0, 1, 2001)
    with np.errstate(divide="ignore"):
        terms = np.logaddexp(np.log(1 - grid)[:, None], np.log(grid)[:, None] + evidence)
    likelihood = terms.sum(axis=1)
    inside = grid[likelihood >= likelihood.max() - _BOUND]
    return float(grid[np.argmax(likelihood)]), float(inside.min()), float(inside.max())
