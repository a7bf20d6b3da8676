"""How far raters agree: with one another, with themselves, with what is known; and how far the side decides. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.ratios import pseudo_interval, pseudo_values
from bench.analysis.stats import Interval
from bench.errors import MissingError
from bench.study.ballots import Ballots, Floats
from bench.study.clusters import Spread, share_interval, two_way
from bench.study.votes import Item, Vote


def alpha(votes: Ballots) -> Interval:
    """Krippendorff's alpha of outcomes (ordinal: lost, tie, won) by item, in (-1, 1]; 0 is chance.

    Each item counts both ways round, as which of its methods is called the first is arbitrary and must not matter. The
    interval is a jackknife over prompts. Krippendorff (2004), Content Analysis, chapter 11. NaN with a reason where no
    item has two raters. MissingError: the package is not installed.
    """
    try:
        import krippendorff
    except ImportError:
        raise MissingError("the agreement of raters needs krippendorff: pip install 'imagerefl-bench[study]'") from None
    items, index = np.unique(np.array(votes.items, dtype=str), return_inverse=True)
    counts = np.zeros((len(items), 3))
    np.add.at(counts, (index, (2 * votes.y).astype(int)), 1)
    several = counts.sum(axis=1) > 1
    prompt_of = np.zeros(len(items), dtype=int)
    prompt_of[index] = votes.prompts
    counts, prompt_of = counts[several], prompt_of[several]
    if not len(counts):
        return _none("no item was answered by two raters, so that nothing can be said of their agreement")
    if not counts[:, [0, 2]].any():
        return _none("all answers to the items of several raters are ties, so that chance cannot be told")
    domain = [0.0, 0.5, 1.0]

    def of(rows: Floats) -> float:
        both = np.concatenate([rows, rows[:, ::-1]])
        if not both[:, 0].any():
            return math.nan
        return float(krippendorff.alpha(value_counts=both, value_domain=domain, level_of_measurement="ordinal"))

    whole, prompts = of(counts), np.unique(prompt_of)
    left_out = [of(counts[prompt_of != prompt]) for prompt in prompts] if len(prompts) > 1 else []
    found = (
        pseudo_interval(pseudo_values(whole, left_out))
        if left_out
        else _none("no interval: a single prompt carries no between-prompt variance")
    )
    return Interval(whole, max(found.low, -1.0), min(found.high, 1.0), len(counts), 0, len(prompts), found.reason)


def _none(reason: str) -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0, 0, 0, reason)


@dataclass(frozen=True, slots=True)
class Retest:
    """How often a rater gave the same answer to a repeated item, and how often the contrary one."""

    same: Interval
    contrary: int
    n: int


def retest(votes: Sequence[Vote], items: dict[str, Item]) -> Retest:
    """From votes of kind repeat and the items that they repeat; the interval is clustered by rater and prompt."""
    first = {(vote.rater, vote.item): vote for vote in votes if vote.kind == "real"}
    pairs = []
    for vote in votes:
        if vote.kind != "repeat":
            continue
        item = items.get(vote.item)
        original = first.get((vote.rater, (item.repeated_of if item is not None else None) or vote.item))
        if original is not None:
            again = vote.outcome if vote.method_a == original.method_a else 1 - vote.outcome
            pairs.append((original.rater, original.prompt_id, original.outcome, again))
    if not pairs:
        return Retest(_none("no item was answered twice by one rater"), 0, 0)
    raters, prompts = (np.unique([pair[k] for pair in pairs], return_inverse=True)[1] for k in (0, 1))
    same = np.array([float(before == after) for _, _, before, after in pairs])
    contrary = sum(abs(before - after) == 1 for _, _, before, after in pairs)
    mean = float(same.mean())
    spread = two_way((same - mean) / len(same), raters, prompts)
    return Retest(share_interval(mean, spread, len(same)), contrary, len(pairs))


def side_bias(votes: Ballots) -> Interval:
    """The win rate of the left side between equal methods, in [0, 1], ties half; one half is no bias.

    Within each pair the win rate of a method on the left less that on the right, so that methods that happen to be on
    one side more often do not pass for a bias.
    """
    y, side = votes.y.copy(), votes.left.copy()
    for a, b in votes.pairs:
        here = (votes.a == a) & (votes.b == b)
        y[here] -= y[here].mean()
        side[here] -= side[here].mean()
    total = float(side @ side)
    if total < 1e-9:
        return _none("every pair was shown with the same method on the left: the side cannot be told from the method")
    slope = float(side @ y) / total
    spread: Spread = two_way(side * (y - slope * side) / total, votes.raters, votes.prompts)
    return share_interval(min(1.0, max(0.0, 0.5 + slope)), spread, len(votes))
