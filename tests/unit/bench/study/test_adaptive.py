"""Adaptive chances: a floor, all to the undecided, weights that make the votes those of a balanced design."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bench.errors import UsageError
from bench.study.adaptive import FIRST, chances, decided, draw, looks, weighted
from bench.study.ballots import Ballots, ballots
from bench.study.winrates import win_rates
from tests.unit.bench.study.made import METHODS, simulated

CLEAR = ballots(simulated(quality=(0.0, 0.1, 4.0), raters=16, prompts=20), methods=METHODS)
CLOSE = ("base", "refl")


def test_before_any_vote_all_pairs_have_the_same_chance() -> None:
    assert set(chances(METHODS).values()) == {1 / 3}


def test_the_undecided_pair_gets_all_but_the_floor() -> None:
    found = chances(METHODS, CLEAR, floor=0.3)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[CLOSE] == pytest.approx(0.8)
    assert [found[pair] for pair in found if pair != CLOSE] == pytest.approx([0.1, 0.1])


def test_a_floor_of_one_is_balanced() -> None:
    assert list(chances(METHODS, CLEAR, floor=1.0).values()) == pytest.approx([1 / 3] * 3)


def test_pairs_with_few_votes_come_first() -> None:
    few = CLEAR.where(~((CLEAR.a == 0) & (CLEAR.b == 2)) | (np.cumsum((CLEAR.a == 0) & (CLEAR.b == 2)) < FIRST))
    found = chances(METHODS, few, floor=0.3)
    assert found["base", "imagerefl"] == pytest.approx(0.8)


def test_a_cap_ends_a_tie_and_done_pairs_get_the_floor() -> None:
    votes = int(np.sum((CLEAR.a == 0) & (CLEAR.b == 1)))
    assert list(chances(METHODS, CLEAR, cap=votes).values()) == pytest.approx([1 / 3] * 3)  # nobody wants more
    assert chances(METHODS, CLEAR, cap=votes + 1)[CLOSE] > 0.8
    assert list(chances(METHODS, CLEAR, done=[CLOSE[::-1]]).values()) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("methods", "floor", "told"), [(("a",), 0.2, "two methods"), (METHODS, 0.0, "floor"), (METHODS, 1.5, "floor")]
)
def test_what_makes_no_sense_is_refused(methods: tuple[str, ...], floor: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chances(methods, None, floor)


def test_drawn_pairs_have_their_chances() -> None:
    table = {("a", "b"): 0.7, ("a", "c"): 0.2, ("b", "c"): 0.1}
    found = draw(np.random.default_rng(0), table, 20_000)
    counts = Counter(pair for pair, _ in found)
    assert all(counts[pair] / 20_000 == pytest.approx(chance, abs=0.02) for pair, chance in table.items())
    assert all(table[pair] == chance for pair, chance in found)


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


def test_decided_names_winners() -> None:
    found = decided(win_rates(CLEAR))
    assert found == {("base", "imagerefl"): "imagerefl", ("refl", "imagerefl"): "imagerefl"}
    assert decided(win_rates(CLEAR), 1e-30) == {}
