"""Paired differences of two runs, one metric at a time, with the prompt as the unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.analysis.estimand import Pairing, pair, units_of
from bench.analysis.extrapolation import BlockMean, block_mean, features_of, not_estimable
from bench.analysis.stats import Interval, Paired, holm, minimum_detectable_effect
from bench.analysis.summary import left_out_values, metric_interval
from bench.analysis.worst_case import undecided_by_gaps
from bench.store.runs import MetricFacts, Run

_SET_REASON = "one value for the whole set: no pairs"
_UNEQUAL = "values of a set metric are not subtracted"
LEVEL = 0.05
LEAST_PROMPTS = 8  # for a full mark: of fewer prompts one skewed metric is marked by chance in more than 5 %
SURE = "still significant at 5 % after Holm's correction over the whole table"
UNSURE = "only the cell's own 95 % interval excludes zero"


@dataclass(frozen=True)
class Difference:
    """b - a on one metric. `better` and `sure` are the one definition of "better", in compare, report and gate."""

    facts: MetricFacts
    a: float
    b: float
    paired: Paired
    p_holm: float = math.nan
    family: int = 1  # how many differences the correction covers
    estimate: Pairing | BlockMean | None = field(default=None, repr=False, compare=False)

    @property
    def interval(self) -> Interval:
        """The mean difference b - a with its interval, in the metric's unit."""
        return self.paired.interval

    @property
    def win_rate(self) -> float:
        """Share of pairs in which b is better in the metric's direction, ties half, in [0, 1]; NaN without pairs."""
        return self.paired.win_rate if self.facts.higher else 1 - self.paired.win_rate

    @property
    def better(self) -> str:
        """ "a" or "b" when the 95 % interval excludes zero in its favour, which is p < 0.05; else "".

        Where the scored values of both sides differ it has to do so with the worst case in the gaps as well.
        """
        if not self.interval.excludes_zero or not self.p_mark < LEVEL:
            return ""
        return "b" if (self.interval.mean > 0) == self.facts.higher else "a"

    @property
    def sure(self) -> bool:
        """True when one side is better and that is still significant after the correction over the whole table."""
        return bool(self.better) and self.p_holm < LEVEL and self.interval.clusters >= LEAST_PROMPTS

    @property
    def p_mark(self) -> float:
        """p of the mark: that of the pairs, or with the worst case in the gaps where those are scored differently.

        NaN where there is no interval: nothing is tested then. Of pairs that are identical there is nothing to mark.
        """
        plain = math.isnan(self.paired.p) or self.interval.low == self.interval.high
        if not isinstance(self.estimate, Pairing) or not self.estimate.gaps or plain:
            return self.paired.p
        above, below = self.estimate.one_sided()
        return min(1.0, 2 * (above if self.interval.mean > 0 else below))

    @property
    def undecided(self) -> str:
        """Why an interval that excludes zero carries no mark, as a clause; "" where it does, or holds zero."""
        if not self.interval.excludes_zero or self.better or not isinstance(self.estimate, Pairing):
            return ""
        return undecided_by_gaps(self.estimate.gaps, self.estimate.filled)

    @property
    def win_interval(self) -> Interval | None:
        """`win_rate` with its interval over prompts; None for set metrics."""
        win = self.paired.win
        if win is None or self.facts.higher:
            return win
        return replace(win, mean=1 - win.mean, low=1 - win.high, high=1 - win.low)

    @property
    def detects(self) -> float:
        """The smallest true difference that would be marked as sure in this table with a probability of 90 %.

        Its level is that of the mark beside it: 5 % shared among all differences that the correction covers.
        """
        if self.interval.clusters < LEAST_PROMPTS:
            return math.nan  # nothing would be
        if self.estimate is None or self.interval.low == self.interval.high:
            return self.paired.mde
        level = 1 - LEVEL / max(1, self.family)
        return minimum_detectable_effect(self.estimate.interval(level), level)


def difference_row(difference: Difference) -> dict[str, Any]:
    """A difference as plain values, one row of the table."""
    interval = difference.interval
    return {
        "metric": difference.facts.name,
        "title": difference.facts.display,
        "kind": difference.facts.kind,
        "direction": difference.facts.direction,
        "a": difference.a,
        "b": difference.b,
        "difference": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": difference.paired.p,
        "p_holm": difference.p_holm,
        "win_rate": difference.win_rate,
        "win_low": difference.win_interval.low if difference.win_interval else math.nan,
        "win_high": difference.win_interval.high if difference.win_interval else math.nan,
        "detects": difference.detects,
        "n": interval.n,
        "n_unscored": interval.n_unscored,
        "better": difference.better,
        "sure": difference.sure,
        "reason": interval.reason or difference.undecided or None,
    }


def difference(a: Run, b: Run, metric: str) -> Difference:
    """b - a on one metric that both runs have. Set metrics are paired by their jackknife blocks, if both have them.

    A Frechet distance is compared as extrapolated to infinitely many images, and only where that can be done.
    """
    facts = a.metrics[metric]
    mean_a, mean_b = metric_interval(a, metric), metric_interval(b, metric)
    if facts.kind == "set":
        return judged(facts, mean_a.mean, mean_b.mean, set_estimate(a, b, facts))
    found = pair(units_of(a, metric), units_of(b, metric))
    return judged(facts, mean_a.mean, mean_b.mean, found, same=same_pictures(a, b))


def same_pictures(a: Run, b: Run) -> bool:
    """Whether both runs are on record to have the very same pictures."""
    return a.pictures != "" and a.pictures == b.pictures


def judged(
    facts: MetricFacts, a: float, b: float, estimate: Pairing | BlockMean, *, same: bool = False, win: bool = True
) -> Difference:
    """The difference of means a and b with what its estimate says; `same`: the pictures of both are.

    `win`: with the interval of the win rate.
    """
    if isinstance(estimate, Pairing):
        return Difference(facts, a, b, estimate.paired(identical=same, win=win), estimate=estimate)
    interval = estimate.interval()
    paired = Paired(interval, estimate.p(), 0, 0, 0, minimum_detectable_effect(interval))
    return Difference(facts, a, b, paired, estimate=estimate)


def set_estimate(a: Run, b: Run, facts: MetricFacts) -> BlockMean:
    """b - a of a set metric, block by block; without an interval, and with the reason, where there can be none."""
    first, second = (SetValue(metric_interval(one, facts.name), left_out_values(one, facts.name)) for one in (a, b))
    return set_difference(first, second, features_of(facts.card), same_prompts=a.prompts == b.prompts)


@dataclass(frozen=True, slots=True)
class SetValue:
    """A set metric's value on `interval.n` images, and its values with one block of prompts left out each."""

    interval: Interval
    left_out: Sequence[float]


def set_difference(a: SetValue, b: SetValue, features: int | None, *, same_prompts: bool) -> BlockMean:
    """b - a. Values on unequal N are not subtracted; Frechet distances (`features`) are extrapolated where possible.

    `same_prompts`: the blocks of both sides hold the same prompts.
    """
    mean_a, mean_b = a.interval, b.interval
    difference, n = mean_b.mean - mean_a.mean, min(mean_a.n, mean_b.n)
    reason = mean_a.reason if math.isnan(mean_a.mean) else mean_b.reason if math.isnan(mean_b.mean) else None
    if reason is None and mean_a.n != mean_b.n:
        difference, reason = math.nan, f"N differs ({mean_a.n:,} and {mean_b.n:,}): {_UNEQUAL}"
    reason = reason or not_estimable(features, n)
    if not reason and (not same_prompts or len(a.left_out) != len(b.left_out) or len(a.left_out) < 2):
        reason = _SET_REASON
    if reason:
        return BlockMean(difference, math.nan, 0, n, reason)
    blocks = np.asarray(b.left_out) - np.asarray(a.left_out)
    return block_mean(difference, blocks, n, extrapolate=features is not None)


def differences(a: Run, b: Run) -> tuple[Difference, ...]:
    """b - a on every metric that both comparable runs have; p values also Holm-corrected over these metrics."""
    return corrected([difference(a, b, name) for name in a.metrics if name in b.metrics])


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The same differences as one family of tests (Holm 1979): `p_holm`, and `detects` at the level they share.

    A difference without a p value is no test and has none.
    """
    ps = [difference.p_mark for difference in differences]
    family = sum(math.isfinite(p) for p in ps)
    return tuple(
        replace(difference, p_holm=p, family=max(1, family))
        for difference, p in zip(differences, holm(ps).tolist(), strict=True)
    )
