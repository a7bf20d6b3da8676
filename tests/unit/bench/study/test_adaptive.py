"""Adaptive chances: a floor, all to the undecided, weights that make the votes those of a balanced design."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bench.errors import UsageError
from bench.study.adaptive import Looks, at_looks, chances, draw, looks, planned_looks, weighted
from bench.study.ballots import Ballots, ballots
from bench.study.winrates import win_rates
from tests.unit.bench.study.made import METHODS, simulated

CLEAR = ballots(simulated(quality=(0.0, 0.1, 4.0), raters=16, prompts=20), methods=METHODS)
CLOSE = ("base", "refl")


def test_before_any_vote_all_pairs_have_the_same_chance() -> None:
    assert set(chances(METHODS).values()) == {1 / 3}


def test_undecided_pairs_share_all_but_the_floor() -> None:
    found = chances(METHODS, [("refl", "base"), ("base", "imagerefl")], floor=0.3)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["refl", "imagerefl"] == pytest.approx(0.8)
    assert [found[pair] for pair in found if pair != ("refl", "imagerefl")] == pytest.approx([0.1, 0.1])


def test_a_floor_of_one_is_balanced_and_so_is_a_study_with_nothing_open() -> None:
    assert list(chances(METHODS, [CLOSE], floor=1.0).values()) == pytest.approx([1 / 3] * 3)
    assert list(chances(METHODS, list(chances(METHODS))).values()) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("methods", "floor", "told"), [(("a",), 0.2, "two methods"), (METHODS, 0.0, "floor"), (METHODS, 1.5, "floor")]
)
def test_what_makes_no_sense_is_refused(methods: tuple[str, ...], floor: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chances(methods, (), floor)


def test_each_place_of_an_order_has_its_pair_with_its_chance() -> None:
    table = {("a", "b"): 0.55, ("a", "c"): 0.3, ("b", "c"): 0.15}
    rng, n = np.random.default_rng(0), 6000
    places = [Counter[tuple[str, str]]() for _ in range(7)]
    for _ in range(n):
        drawn = draw(rng, table, 7)
        for place, (pair, chance) in zip(places, drawn, strict=True):
            assert chance == table[pair]
            place[pair] += 1
        counts = Counter(pair for pair, _ in drawn)
        assert all(math.floor(7 * table[pair]) <= counts[pair] <= math.ceil(7 * table[pair]) for pair in table)
    for place in places:
        for pair, chance in table.items():
            assert abs(place[pair] / n - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n)


def test_votes_of_a_balanced_study_keep_their_weights() -> None:
    assert weighted(CLEAR) is CLEAR


def test_each_pair_weighs_the_same_and_rare_votes_more() -> None:
    rng = np.random.default_rng(0)
    one = replace(CLEAR, chances=rng.choice([0.1, 0.4], size=len(CLEAR)))
    found = weighted(one)
    for a, b in one.pairs:
        assert found.of_pair(a, b).weights.sum() == pytest.approx(len(one) / 3)
    pair = found.of_pair(0, 1)
    assert pair.weights[pair.chances == 0.1][0] / pair.weights[pair.chances == 0.4][0] == pytest.approx(2.0)


def test_votes_without_a_chance_among_others_are_refused() -> None:
    mixed = replace(CLEAR, chances=np.where(np.arange(len(CLEAR)) < 5, math.nan, 0.3))
    with pytest.raises(UsageError, match=r"5 of \d+ votes of this adaptive study have no recorded chance"):
        weighted(mixed)


def test_weights_undo_a_bias_of_the_plain_mean() -> None:
    """A pair that begins badly gets fewer votes later: the plain mean keeps the bad luck, the weighted one does not."""

    def studies(rng: np.random.Generator) -> tuple[float, float]:
        first = (rng.random(20) < 0.5).astype(float)
        chance = 0.9 if first.mean() > 0.5 else 0.1
        later = (rng.random(rng.binomial(100, chance)) < 0.5).astype(float)
        y, p = np.concatenate([first, later]), np.concatenate([np.full(20, 0.5), np.full(len(later), chance)])
        zeros = np.zeros(len(y), dtype=int)
        votes = Ballots(("a", "b"), zeros, zeros + 1, y, zeros, zeros, y, np.ones(len(y)), p)
        return float(y.mean()), float(np.average(y, weights=weighted(votes).weights))

    rng = np.random.default_rng(0)
    plain, corrected = np.mean([studies(rng) for _ in range(4000)], axis=0)
    assert plain < 0.49
    assert abs(corrected - 0.5) < 0.6 * abs(plain - 0.5)


def test_looks_grow_and_spend_five_percent_in_all() -> None:
    found = looks(10_000, 8, 1.5)
    assert len(found.votes) == 8
    assert found.votes[-1] == 10_000
    assert all(b / a == pytest.approx(1.5, rel=0.01) for a, b in pairwise(found.votes))
    assert found.alpha * 8 == pytest.approx(0.05)
    with pytest.raises(UsageError, match="20 looks do not fit in 30 votes"):
        looks(30)


def test_planned_looks_begin_with_ten_votes_a_pair() -> None:
    found = planned_looks(36_000, 6).votes
    assert (len(found), found[-1]) == (20, 36_000)
    assert 60 <= planned_looks(600, 6).votes[0] <= 75
    assert planned_looks(25, 6).votes == (25,)


def test_looks_name_winners_and_their_p_pays_for_every_look() -> None:
    plan = Looks((60, 120, len(CLEAR)))
    found = at_looks(CLEAR, plan)
    assert found.winners == {("base", "imagerefl"): "imagerefl", ("refl", "imagerefl"): "imagerefl"}
    assert found.taken == plan.votes
    assert {pair for pair, p in found.p.items() if p < 0.05} == set(found.winners)
    once = at_looks(CLEAR, Looks((len(CLEAR),)))
    plain = {(one.a, one.b): one.p_holm for one in win_rates(CLEAR)}
    assert once.p == pytest.approx(plain)
    assert at_looks(CLEAR, plan, at_looks(CLEAR.where(np.arange(len(CLEAR)) < 130), plan)) == found


def test_a_look_that_is_not_reached_is_not_taken_and_an_early_one_reads_early_votes_only() -> None:
    turned = replace(CLEAR, y=np.where(np.arange(len(CLEAR)) < 120, CLEAR.y, 1 - CLEAR.y))
    found = at_looks(turned, Looks((120, 10_000)))
    assert found.taken == (120,)
    assert found == at_looks(CLEAR, Looks((120, 10_000)))
