"""Adaptive studies: votes go to the pairs that are undecided, and the intervals stay valid. Pure.

Before each batch every pair has a chance, recorded with every vote that is drawn with it. The chance grows with what a
vote on the pair is expected to tell: the squared width of its interval beside the distance of its win rate from one
half, as long as the interval holds one half. `FLOOR` of the chances is shared evenly, so that no pair is ever left.

Rates come from weights: a vote weighs 1 / sqrt(chance), scaled so that each pair weighs what it would in a balanced
design (Hadad, Hirshberg, Zhan, Wager & Athey 2021, Confidence intervals for policy evaluation in adaptive experiments,
PNAS 118: inverse-probability weights with their evaluation weights sqrt(chance), which keep the variance steady). The
plain mean of an adaptive study is biased: a pair that began with bad luck gets few votes to make up for it.

When to stop is a question of its own: `Looks` fixes beforehand at which numbers of votes one may look, and each look
spends its part of the error, so that any pair is decided wrongly in at most 5 % of studies, whenever one stops.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.stats import holm
from bench.errors import UsageError
from bench.study.ballots import Ballots, Floats
from bench.study.winrates import WinRate, win_rates

FLOOR = 0.1  # the share of all chances that is spread evenly over the pairs
FIRST = 10  # votes of each pair before any is preferred
ALPHA = 0.05
SURE = ALPHA / 20  # as sure as one of 20 looks asks: then its votes go elsewhere, until it is not sure any more

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Looks:
    """At which numbers of votes one may look at an adaptive (or balanced) study; each look spends the same."""

    votes: tuple[int, ...]

    @property
    def alpha(self) -> float:
        """The error that Holm's correction may spend at each look: all looks together spend ALPHA (Bonferroni)."""
        return ALPHA / len(self.votes)


def looks(votes: int, count: int = 20, growth: float = 1.25) -> Looks:
    """`count` looks, each after `growth` times as many votes as the one before, the last after all `votes`.

    Growing steps look often where a few votes more are many, and seldom where they are not.
    """
    found = sorted({round(votes / growth**k) for k in range(count)})
    if len(found) < count or found[0] < 1:
        raise UsageError(f"{count} looks do not fit in {votes} votes: plan fewer looks or more votes")
    return Looks(tuple(found))


def decided(pairs: Sequence[WinRate], alpha: float = ALPHA) -> dict[Pair, str]:
    """The pairs that are decided at `alpha` with Holm's correction, and their winners."""
    corrected = holm([one.p for one in pairs]).tolist()
    return {
        (one.a, one.b): one.a if one.rate.mean > 0.5 else one.b
        for one, p in zip(pairs, corrected, strict=True)
        if p < alpha
    }


def chances(
    methods: Sequence[str],
    votes: Ballots | None = None,
    floor: float = FLOOR,
    cap: int = 0,
    done: Collection[Pair] = (),
) -> dict[Pair, float]:
    """The chance of each pair of `methods` for the next batch, all together 1, after the votes so far.

    `floor` in (0, 1] is spread evenly; 1 is a balanced design. A pair gets no more than its floor when it is `done`,
    when it is decided at `SURE`, or when it has `cap` votes, which ends ties (0: no cap). UsageError: fewer than two
    methods, or a floor out of range.

    >>> chances(["base", "refl"])
    {('base', 'refl'): 1.0}
    """
    names = list(dict.fromkeys(methods))
    if len(names) < 2:
        raise UsageError("an adaptive study needs at least two methods to compare")
    if not 0 < floor <= 1:
        raise UsageError(f"the floor of the chances must be above 0 and at most 1, not {floor:g}")
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    known = {} if votes is None else {(one.a, one.b): one for one in win_rates(weighted(votes))}
    wanted = _wanted(pairs, known, cap, {*done, *(pair[::-1] for pair in done)})
    total = wanted.sum()
    share = wanted / total if total > 0 else np.full(len(pairs), 1 / len(pairs))
    found = floor / len(pairs) + (1 - floor) * share
    return dict(zip(pairs, found.tolist(), strict=True))


def _wanted(pairs: Sequence[Pair], known: Mapping[Pair, WinRate], cap: int, done: Collection[Pair]) -> Floats:
    """How much a vote on each pair is worth, in no unit."""
    rates = [known.get(pair) or known.get(pair[::-1]) for pair in pairs]
    few = [one is None or one.votes < FIRST for one in rates]
    if any(few):  # first of all every pair gets its first votes
        return np.array(few, dtype=np.float64)
    found = [one for one in rates if one is not None]
    done = {*done, *decided(found, SURE)}
    worth = [0.0 if (one.a, one.b) in done or 0 < cap <= one.votes else _missing(one) for one in found]
    return np.array(worth)


def _missing(one: WinRate) -> float:
    """The votes that the pair still lacks, within bounds: a rate near one half must not take all."""
    half = (one.rate.high - one.rate.low) / 2
    distance = max(abs(one.rate.mean - 0.5), half / 2)
    return float(one.votes * (half / distance) ** 2) if math.isfinite(half) else float(FIRST)


def draw(rng: np.random.Generator, table: Mapping[Pair, float], count: int) -> list[tuple[Pair, float]]:
    """`count` pairs, each with the chance that it was drawn with, which has to be stored with the vote."""
    pairs = list(table)
    chosen = rng.choice(len(pairs), size=count, p=np.array([table[pair] for pair in pairs]))
    return [(pairs[i], table[pairs[i]]) for i in chosen.tolist()]


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
