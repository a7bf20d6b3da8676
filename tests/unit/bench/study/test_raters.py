"""Spammers are found by checks, repeats and votes; others are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.study.raters import _mixture, judge_raters
from tests.unit.bench.study.made import items_of, simulated, with_checks


def test_a_fifth_of_spammers_is_found_and_told() -> None:
    votes, items = with_checks(simulated(raters=20, spammers=4, quality=(0.0, 0.8, 1.6)), spammers=4)
    found = judge_raters(votes, items)
    assert found.marked == ("r16", "r17", "r18", "r19")
    assert all(one.failed == (3 if one.marked else 0) for one in found.raters)
    assert found.share.mean == pytest.approx(0.2, abs=0.06)
    assert found.told


def test_without_spammers_nobody_is_marked() -> None:
    votes, items = with_checks(simulated(raters=20))
    found = judge_raters(votes, items)
    assert found.marked == ()
    assert not found.told
    assert all(one.checks == 4 and one.failed == 0 for one in found.raters)


def test_always_left_is_marked_without_checks() -> None:
    votes = simulated(raters=12, prompts=20, quality=(0.0, 0.8, 1.6))
    stuck = [replace(v, outcome=float(v.left == v.method_a)) if v.rater == "r03" else v for v in votes]
    assert judge_raters(stuck, items_of(votes)).marked == ("r03",)


def test_many_ties_are_no_evidence() -> None:
    votes = simulated(raters=12)
    calm = [replace(v, outcome=0.5) if v.rater == "r03" else v for v in votes]
    found = {one.rater: one for one in judge_raters(calm, items_of(votes)).raters}
    assert found["r03"].evidence == pytest.approx(0.0)


def test_a_tie_on_a_check_is_a_failure() -> None:
    votes, items = with_checks(simulated())
    tied = [replace(v, outcome=0.5) if v.kind == "check" and v.rater == "r02" else v for v in votes]
    found = {one.rater: one for one in judge_raters(tied, items).raters}
    assert found["r02"].failed == 4
    assert found["r02"].marked


def test_repeats_count_for_those_who_stay_with_their_answer() -> None:
    votes = simulated(raters=12)
    items = items_of(votes)
    again = [replace(v, kind="repeat", item=f"again-{v.item}") for v in votes if v.prompt_id in ("p0", "p1")]
    items |= {
        v.item: replace(items[v.item.removeprefix("again-")], item=v.item, repeated_of=v.item.removeprefix("again-"))
        for v in again
    }
    turned = [replace(v, outcome=1 - v.outcome) if v.rater == "r01" else v for v in again]
    before = {one.rater: one.evidence for one in judge_raters(votes, items).raters}
    after = {one.rater: one for one in judge_raters([*votes, *turned], items).raters}
    assert after["r00"].evidence < before["r00"]
    assert after["r01"].evidence > before["r01"]
    assert after["r00"].same == after["r00"].repeats == 3


def test_practice_is_left_out() -> None:
    votes = simulated()
    practice = [replace(v, kind="practice", outcome=0.0) for v in votes]
    assert judge_raters([*votes, *practice], {}) == judge_raters(votes, {})


def test_the_share_is_the_maximum_of_the_written_out_likelihood() -> None:
    evidence = np.array([3.0, -2.0, -4.0, 1.0, -3.0, -3.0])
    share, low, high = _mixture(evidence)

    def likelihood(p: float) -> float:
        return sum(math.log((1 - p) + p * math.exp(e)) for e in evidence)

    best = max(np.linspace(0, 0.999, 5000), key=likelihood)
    assert share == pytest.approx(best, abs=1e-3)
    for limit in (low, high):
        if 0 < limit < 1:
            assert likelihood(limit) == pytest.approx(likelihood(share) - 1.92, abs=0.02)


def test_seconds_are_the_median_or_unknown() -> None:
    votes = [replace(v, seconds=math.nan if v.rater == "r00" else 4.0) for v in simulated()]
    found = {one.rater: one for one in judge_raters(votes, {}).raters}
    assert math.isnan(found["r00"].seconds)
    assert found["r01"].seconds == 4.0
