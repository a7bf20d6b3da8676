"""Adaptive studies: votes go to the pairs that are undecided, and the judgement stays valid. Pure.

Before a rater begins, every pair has a chance, which is recorded with every vote that is drawn with it. `FLOOR` of the
chances is shared evenly over all pairs, so that none is ever left; the rest is shared evenly over the undecided ones.

Whether a pair is decided is looked at after fixed numbers of votes (`Looks`), and each look spends its part of the
error (Bonferroni over looks, Holm over pairs), so that any pair is decided wrongly in at most 5 % of studies, whenever
one stops. A look takes all votes alike: how many a pair gets before it is decided depends on the other pairs only, as
in a group-sequential trial.

Rates of the whole study come from weights: a vote weighs 1 / sqrt(chance), scaled so that each pair weighs what it
would in a balanced design (Hadad, Hirshberg, Zhan, Wager & Athey 2021, Confidence intervals for policy evaluation in
adaptive experiments, PNAS 118: inverse-probability weights with their evaluation weights sqrt(chance), which keep the
variance steady). The plain mean is biased: a pair that is decided by good luck gets few votes to make up for it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.analysis.stats import holm
from bench.errors import UsageError
from bench.study.ballots import Ballots
from bench.study.winrates import win_rates

FLOOR = 0.1  # the share of all chances that is spread evenly over the pairs
FIRST = 10  # votes of each pair, on average, before the first look
MOST_LOOKS, GROWTH = 20, 1.25
ALPHA = 0.05

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Looks:
    """At which numbers of votes one looks at an adaptive (or balanced) study; each look spends the same."""

    votes: tuple[int, ...]

    @property
    def alpha(self) -> float:
        """The error that Holm's correction may spend at each look: all looks together spend ALPHA (Bonferroni)."""
        return ALPHA / len(self.votes)


def looks(votes: int, count: int = MOST_LOOKS, growth: float = GROWTH) -> Looks:
    """`count` looks, each after `growth` times as many votes as the one before, the last after all `votes`.

    Growing steps look often where a few votes more are many, and seldom where they are not.
    """
    found = sorted({round(votes / growth**k) for k in range(count)})
    if len(found) < count or found[0] < 1:
        raise UsageError(f"{count} looks do not fit in {votes} votes: plan fewer looks or more votes")
    return Looks(tuple(found))


def planned_looks(votes: int, pairs: int) -> Looks:
    """The looks of a study of `votes` votes: up to 20, the first when pairs have about 10 votes each.

    >>> planned_looks(1000, 3).votes
    (35, 44, 55, 69, 86, 107, 134, 168, 210, 262, 328, 410, 512, 640, 800, 1000)
    """
    fit = 1 + math.floor(math.log(max(votes / (FIRST * pairs), 1.0)) / math.log(GROWTH))
    return looks(votes, min(fit, MOST_LOOKS))


@dataclass(frozen=True)
class Verdicts:
    """What the looks so far found: the winner of each decided pair, and p values with all corrections.

    `p` below ALPHA is the same as being decided; `taken` is the number of votes at each look that was taken.
    """

    winners: Mapping[Pair, str] = field(default_factory=dict)
    p: Mapping[Pair, float] = field(default_factory=dict)
    taken: tuple[int, ...] = ()


def look(votes: Ballots, plan: Looks, before: Verdicts) -> Verdicts:
    """One look at the votes that there are; what was decided `before` stays decided and frees its part of Holm's.

    (Maurer & Bretz 2013, Multiple testing in group sequential trials using graphical approaches.)
    """
    pairs = [(a, b) for i, a in enumerate(votes.methods) for b in votes.methods[i + 1 :]]
    known = {(one.a, one.b): one for one in win_rates(replace(votes, weights=np.ones(len(votes))))}
    raw = [0.0 if pair in before.winners else _p(known[pair].p if pair in known else math.nan) for pair in pairs]
    winners, found = dict(before.winners), dict(before.p)
    for pair, value in zip(pairs, holm(raw).tolist(), strict=True):
        if pair in before.winners:
            continue
        corrected = min(1.0, value * len(plan.votes))
        found[pair] = min(corrected, found.get(pair, 1.0))
        if corrected < ALPHA:
            winners[pair] = pair[0] if known[pair].rate.mean > 0.5 else pair[1]
    return Verdicts(winners, found, (*before.taken, len(votes)))


def _p(value: float) -> float:
    return value if math.isfinite(value) else 1.0


def at_looks(votes: Ballots, plan: Looks, before: Verdicts | None = None) -> Verdicts:
    """All looks that the votes [N], in the order in which they were given, have reached; `before`: some are taken."""
    found = before or Verdicts()
    for count in plan.votes[len(found.taken) :]:
        if count <= len(votes):
            found = look(votes.where(np.arange(len(votes)) < count), plan, found)
    return found


def chances(methods: Sequence[str], done: Collection[Pair] = (), floor: float = FLOOR) -> dict[Pair, float]:
    """The chance of each pair of `methods` for the next rater, all together 1.

    `floor` in (0, 1] is spread evenly, the rest over the pairs that are not `done`; 1 is a balanced design. UsageError:
    fewer than two methods, or a floor out of range.

    >>> chances(["base", "refl"])
    {('base', 'refl'): 1.0}
    """
    names = list(dict.fromkeys(methods))
    if len(names) < 2:
        raise UsageError("an adaptive study needs at least two methods to compare")
    if not 0 < floor <= 1:
        raise UsageError(f"the floor of the chances must be above 0 and at most 1, not {floor:g}")
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    open_ones = [pair for pair in pairs if pair not in done and pair[::-1] not in done] or pairs
    rest = (1 - floor) / len(open_ones)
    return {pair: floor / len(pairs) + (rest if pair in open_ones else 0.0) for pair in pairs}


def draw(rng: np.random.Generator, table: Mapping[Pair, float], count: int) -> list[tuple[Pair, float]]:
    """`count` pairs in random order for one rater, each with its chance, which has to be stored with the vote.

    Systematic sampling: a pair comes count x chance times, rounded up or down at random, so that each place of the
    order is of the pair with just its chance, and no rater has one pair more often than need be.
    """
    pairs = [list(table)[i] for i in rng.permutation(len(table)).tolist()]
    edges = np.cumsum([table[pair] for pair in pairs]) * count
    at = np.minimum(np.searchsorted(edges, np.arange(count) + rng.random(), side="right"), len(pairs) - 1)
    return [(pairs[i], table[pairs[i]]) for i in rng.permutation(at).tolist()]


def weighted(votes: Ballots) -> Ballots:
    """The votes with weights from their chances, each pair weighing the same; those of a balanced study as they are.

    UsageError: some votes have a chance and others have none, so that no weights make them one study.
    """
    known = np.isfinite(votes.chances)
    if not known.any():
        return votes
    if not known.all():
        raise UsageError(
            f"{int((~known).sum())} of {len(votes)} votes of this adaptive study have no recorded chance, and no "
            "weights can stand for it: leave out the votes that were collected without the plan"
        )
    raw = 1 / np.sqrt(votes.chances)
    weights = np.empty(len(votes))
    pairs = votes.pairs
    for a, b in pairs:
        here = (votes.a == a) & (votes.b == b)
        weights[here] = raw[here] / raw[here].sum() * len(votes) / len(pairs)
    return replace(votes, weights=weights)
