"""Agreement against definitions written out."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from bench.study.agreement import alpha, retest, side_bias
from bench.study.ballots import ballots
from bench.study.votes import Item, Vote
from tests.unit.bench.study.made import METHODS, items_of, simulated

VOTES = simulated()


def plain_alpha(votes: list[Vote]) -> float:
    """Krippendorff's alpha with the ordinal metric, by pairs of values."""
    units: dict[str, list[float]] = {}
    for vote in votes:
        units.setdefault(vote.item, []).append(vote.outcome)
        units.setdefault(f"{vote.item}, mirrored", []).append(1 - vote.outcome)
    units = {key: values for key, values in units.items() if len(values) > 1}
    values = [value for unit in units.values() for value in unit]
    counts = {value: values.count(value) for value in (0.0, 0.5, 1.0)}

    def distance(a: float, b: float) -> float:
        low, high = sorted((a, b))
        between = sum(counts[value] for value in counts if low <= value <= high)
        return (between - (counts[low] + counts[high]) / 2) ** 2 if low != high else 0.0

    observed = sum(
        2 * sum(distance(a, b) for a, b in combinations(unit, 2)) / (len(unit) - 1) for unit in units.values()
    ) / len(values)
    expected = 2 * sum(distance(a, b) for a, b in combinations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def test_alpha_is_the_written_out_one() -> None:
    found = alpha(ballots(VOTES))
    assert found.mean == pytest.approx(plain_alpha(VOTES))
    assert found.low < found.mean < found.high <= 1


def test_alpha_is_one_where_all_agree_and_about_zero_by_chance() -> None:
    agreed = [
        Vote(v.item, v.task, v.rater, v.prompt_id, v.method_a, v.method_b, float(hash(v.item) % 2), v.left, 0, 1.0)
        for v in VOTES
    ]
    assert alpha(ballots(agreed)).mean == pytest.approx(1.0)
    found = alpha(ballots(simulated(spammers=8)))
    assert found.low < 0 < found.high


def test_alpha_says_why_there_is_none() -> None:
    alone = [vote for vote in VOTES if vote.rater == "r00"]
    assert "no item was answered by two raters" in (alpha(ballots(alone)).reason or "")
    tied = [replace(vote, outcome=0.5) for vote in VOTES]
    found = alpha(ballots(tied))
    assert math.isnan(found.mean)
    assert "are ties" in (found.reason or "")


def test_alpha_does_not_care_which_method_is_called_the_first() -> None:
    one, other = (alpha(ballots(VOTES, methods=order)) for order in (METHODS[::-1], METHODS))
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    assert alpha(ballots([replace(vote, outcome=0.0) for vote in VOTES])).mean == pytest.approx(1.0)


def repeated(outcomes: list[tuple[float, float]], turned: bool) -> tuple[list[Vote], dict[str, Item]]:
    votes, items = [], {}
    for n, (before, after) in enumerate(outcomes):
        who = (f"r{n % 3}", f"p{n % 4}")
        votes.append(Vote(f"i{n}", "preference", *who, "base", "refl", before, "base", 0, 1.0))
        names = ("refl", "base") if turned else ("base", "refl")
        again = 1 - after if turned else after
        votes.append(Vote(f"again{n}", "preference", *who, *names, again, "refl", 9, 1.0, "repeat"))
        items[f"again{n}"] = Item(f"again{n}", "preference", who[1], "", *names, repeated_of=f"i{n}")
    return votes, items


@pytest.mark.parametrize("turned", [False, True])
def test_retest_counts_the_same_and_the_contrary(turned: bool) -> None:
    votes, items = repeated([(1, 1), (1, 0), (0.5, 1), (0, 0), (0.5, 0.5), (0, 1)], turned)
    found = retest(votes, items)
    assert (found.n, found.contrary, found.same.mean) == (6, 2, pytest.approx(0.5))
    assert 0 < found.same.low < 0.5 < found.same.high < 1


def test_retest_says_why_there_is_none() -> None:
    found = retest(VOTES, items_of(VOTES))
    assert found.n == 0
    assert "answered twice" in (found.same.reason or "")


def test_no_bias_where_the_side_does_nothing_and_a_bias_where_it_does() -> None:
    found = side_bias(ballots(simulated(raters=20, prompts=20)))
    assert found.low < 0.5 < found.high
    lefts = [
        Vote(v.item, v.task, v.rater, v.prompt_id, v.method_a, v.method_b, float(v.left == v.method_a), v.left, 0, 1.0)
        for v in VOTES
    ]
    assert side_bias(ballots(lefts)).mean == pytest.approx(1.0)


def test_a_better_method_that_is_more_often_left_is_no_bias() -> None:
    rng, votes = np.random.default_rng(1), []
    for n in range(400):
        left = "refl" if rng.random() < 0.8 else "base"  # refl wins 90 %, wherever it is
        votes.append(
            Vote(
                f"i{n}",
                "preference",
                f"r{n % 10}",
                f"p{n % 13}",
                "base",
                "refl",
                float(rng.random() > 0.9),
                left,
                n,
                1.0,
            )
        )
    found = side_bias(ballots(votes))
    assert found.low < 0.5 < found.high


def test_the_bias_is_the_written_out_slope() -> None:
    found, top, bottom = side_bias(ballots(VOTES, methods=METHODS)), 0.0, 0.0
    groups: dict[Any, list[tuple[float, float]]] = {}
    for v in VOTES:
        groups.setdefault((v.method_a, v.method_b), []).append((1.0 if v.left == v.method_a else -1.0, v.outcome))
    for rows in groups.values():
        sides, ys = (np.array(column) for column in zip(*rows, strict=True))
        top += float(((sides - sides.mean()) * (ys - ys.mean())).sum())
        bottom += float(((sides - sides.mean()) ** 2).sum())
    assert found.mean == pytest.approx(0.5 + top / bottom)


def test_one_side_only_is_told() -> None:
    fixed = [
        Vote(v.item, v.task, v.rater, v.prompt_id, v.method_a, v.method_b, v.outcome, v.method_a, 0, 1.0) for v in VOTES
    ]
    assert "cannot be told" in (side_bias(ballots(fixed)).reason or "")
