"""Win rates and their two-way clustered intervals against computations written out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from bench.errors import UsageError
from bench.study.ballots import ballots
from bench.study.clusters import share_interval, share_p, two_way
from bench.study.votes import Vote
from bench.study.winrates import method_rates, rate_of, win_rates
from tests.unit.bench.study.made import METHODS, simulated

VOTES = simulated()


def plain_variance(rows: list[tuple[str, str, float]]) -> float:
    """Cameron, Gelbach & Miller with loops: (rater, prompt, influence) of each vote."""

    def by(*keys: int) -> float:
        sums: dict[tuple[str, ...], float] = {}
        for row in rows:
            key = tuple(str(row[k]) for k in keys)
            sums[key] = sums.get(key, 0.0) + row[2]
        groups = len(sums)
        return sum(value**2 for value in sums.values()) * groups / (groups - 1)

    rater, prompt = by(0), by(1)
    return max(rater + prompt - by(0, 1), min(rater, prompt))


def plain_rate(a: str, b: str, votes: list[Vote]) -> tuple[float, float, float, float]:
    """Win rate, limits, p value of one pair."""
    own = [(v.rater, v.prompt_id, v.outcome) for v in votes if (v.method_a, v.method_b) == (a, b)]
    mean = sum(y for _, _, y in own) / len(own)
    variance = plain_variance([(r, p, (y - mean) / len(own)) for r, p, y in own])
    freedom = min(len({r for r, _, _ in own}), len({p for _, p, _ in own})) - 1
    size, quantile = mean * (1 - mean) / variance, student.ppf(0.975, freedom)
    # Wilson: the roots of (mean - x)^2 = quantile^2 x (1 - x) / size
    roots = np.roots([1 + quantile**2 / size, -(2 * mean + quantile**2 / size), mean**2]).real
    p = 2 * student.sf(abs(mean - 0.5) * math.sqrt(size / 0.25), freedom)
    return mean, float(min(roots)), float(max(roots)), float(p)


def test_each_pair_has_the_written_out_interval_and_p_value() -> None:
    found = win_rates(ballots(VOTES, methods=METHODS))
    assert [(one.a, one.b) for one in found] == [("base", "refl"), ("base", "imagerefl"), ("refl", "imagerefl")]
    for one in found:
        mean, low, high, p = plain_rate(one.a, one.b, VOTES)
        assert (one.rate.mean, one.rate.low, one.rate.high) == pytest.approx((mean, low, high))
        assert one.p == pytest.approx(p)
        assert one.wins + one.ties / 2 == pytest.approx(mean * one.votes)


def test_holm_covers_the_pairs() -> None:
    found = win_rates(ballots(VOTES))
    ordered = sorted(one.p for one in found)
    expected = [min(1, max((3 - j) * ordered[j] for j in range(i + 1))) for i in range(3)]
    assert sorted(one.p_holm for one in found) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_p_is_below_just_where_the_interval_excludes_half(level: float) -> None:
    for seed in range(20):
        votes = ballots(simulated(seed, quality=(0.0, 0.35)))
        rate, p = rate_of(votes, level)
        assert (p < 1 - level) == (not rate.low <= 0.5 <= rate.high)


def test_the_way_round_of_items_does_not_matter() -> None:
    turned = [
        Vote(v.item, v.task, v.rater, v.prompt_id, v.method_b, v.method_a, 1 - v.outcome, v.left, v.order, v.seconds)
        for v in VOTES
    ]
    mixed = [*VOTES[::2], *turned[1::2]]
    assert win_rates(ballots(mixed, methods=METHODS)) == win_rates(
        ballots([*VOTES[::2], *VOTES[1::2]], methods=METHODS)
    )


@pytest.mark.parametrize(("outcome", "low", "high"), [(1.0, 0.6, 1.0), (0.0, 0.0, 0.4)])
def test_all_votes_for_one_side_leave_room(outcome: float, low: float, high: float) -> None:
    votes = [
        Vote(f"{r}{p}", "preference", f"r{r}", f"p{p}", "base", "refl", outcome, "base", 0, 1.0)
        for r, p in product(range(6), range(8))
    ]
    rate, _ = rate_of(ballots(votes))
    # of 6 independent votes, as there are 6 raters: t(5) squared is 6.6
    t2 = student.ppf(0.975, 5) ** 2
    assert (rate.low, rate.high) == pytest.approx(
        (1 / (1 + t2 / 6), 1.0) if outcome else (0.0, (t2 / 6) / (1 + t2 / 6))
    )
    assert low - 0.2 <= rate.low
    assert rate.high <= high + 0.2


def test_intervals_stay_within_bounds_and_grow_with_the_level() -> None:
    for seed, quality in product(range(5), (0.0, 2.0, 4.0)):
        votes = ballots(simulated(seed, quality=(0.0, quality), raters=4, prompts=6))
        narrow, wide = rate_of(votes, 0.8)[0], rate_of(votes, 0.99)[0]
        assert 0 <= wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high <= 1


@pytest.mark.parametrize(("raters", "prompts", "told"), [(1, 6, "single rater"), (5, 1, "single prompt")])
def test_one_rater_or_prompt_has_no_interval_and_says_why(raters: int, prompts: int, told: str) -> None:
    votes = [
        Vote(f"{r}{p}", "preference", f"r{r}", f"p{p}", "base", "refl", float((r + p) % 2), "base", 0, 1.0)
        for r, p in product(range(raters), range(prompts))
    ]
    rate, p = rate_of(ballots(votes))
    assert math.isfinite(rate.mean)
    assert math.isnan(rate.low)
    assert math.isnan(p)
    assert told in (rate.reason or "")


def test_a_method_against_the_others_is_the_mean_of_its_pairs() -> None:
    votes = ballots(VOTES, methods=METHODS)
    rates = {(one.a, one.b): one.rate.mean for one in win_rates(votes)}
    found = method_rates(votes)
    assert found["refl"].mean == pytest.approx((1 - rates["base", "refl"] + rates["refl", "imagerefl"]) / 2)
    assert found["base"].mean == pytest.approx((rates["base", "refl"] + rates["base", "imagerefl"]) / 2)
    rows = []
    for v in (v for v in VOTES if "refl" in (v.method_a, v.method_b)):
        y = v.outcome if v.method_a == "refl" else 1 - v.outcome
        other = v.method_b if v.method_a == "refl" else v.method_a
        mean = 1 - rates["base", "refl"] if other == "base" else rates["refl", "imagerefl"]
        count = sum({v.method_a, v.method_b} == {w.method_a, w.method_b} for w in VOTES)
        rows.append((v.rater, v.prompt_id, (y - mean) / count / 2))
    expected = share_interval(
        found["refl"].mean,
        two_way(
            np.array([row[2] for row in rows]),
            np.array([int(row[0][1:]) for row in rows]),
            np.array([int(row[1][1:]) for row in rows]),
        ),
        len(rows),
    )
    assert found["refl"] == expected
    assert found["refl"].high - found["refl"].mean == pytest.approx(
        student.ppf(0.975, 7) * math.sqrt(plain_variance(rows)), rel=0.15
    )


def test_a_second_answer_is_left_out_and_counted() -> None:
    again = [VOTES[0], *VOTES]
    assert ballots(again).duplicates == 1
    assert len(ballots(again)) == len(VOTES)


def test_other_kinds_are_not_counted() -> None:
    practice = [
        Vote(v.item, v.task, v.rater, v.prompt_id, v.method_a, v.method_b, 0.0, v.left, 0, 1.0, "practice")
        for v in VOTES
    ]
    assert win_rates(ballots([*practice, *VOTES])) == win_rates(ballots(VOTES))
    with pytest.raises(UsageError, match="no votes of the task preference to judge"):
        ballots(practice, "preference")


def test_weights_make_a_weighted_mean() -> None:
    from dataclasses import replace

    votes = ballots(simulated(quality=(0.0, 0.5)))
    weights = np.random.default_rng(0).random(len(votes)) + 0.1
    rate, _ = rate_of(replace(votes, weights=weights))
    assert rate.mean == pytest.approx(np.average(votes.y, weights=weights))
    assert rate_of(replace(votes, weights=3 * votes.weights))[0].low == pytest.approx(rate_of(votes)[0].low)


def test_share_p_has_no_value_without_spread() -> None:
    spread = two_way(np.array([0.1]), np.array([0]), np.array([0]))
    assert math.isnan(share_p(0.7, spread))
    assert math.isnan(spread.variance())
