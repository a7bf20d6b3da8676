"""Davidson strengths against an independent fit, their covariance against the bootstrap and written-out sandwiches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import minimize

from bench.study.ballots import Ballots, ballots
from bench.study.strengths import fit, strengths
from bench.study.votes import Vote
from tests.unit.bench.study.made import METHODS, simulated


def plain_loss(parameters: np.ndarray, votes: Ballots) -> float:
    """Minus Davidson's log likelihood, vote by vote."""
    m, total = len(votes.methods), 0.0
    strength, v = parameters[:m], math.exp(parameters[m])
    for a, b, y, weight in zip(votes.a, votes.b, votes.y, votes.weights, strict=True):
        pa, pb = math.exp(strength[a]), math.exp(strength[b])
        mid = v * math.sqrt(pa * pb)
        top = {1.0: pa, 0.0: pb, 0.5: mid}[float(y)]
        total -= weight * math.log(top / (pa + pb + mid))
    return total + strength.sum() ** 2


def plain_fit(votes: Ballots) -> np.ndarray:
    start = np.zeros(len(votes.methods) + 1)
    return minimize(plain_loss, start, args=(votes,), method="BFGS", options={"gtol": 1e-6}).x


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_that_of_an_independent_maximisation(seed: int) -> None:
    votes = ballots(simulated(seed), methods=METHODS)
    assert fit(votes) == pytest.approx(plain_fit(votes), abs=2e-4)


def test_a_weighted_fit_is_that_of_repeated_votes() -> None:
    from dataclasses import replace

    votes = ballots(simulated(), methods=METHODS)
    twice = replace(votes, weights=np.where(np.arange(len(votes)) % 3 == 0, 2.0, 1.0))
    again = votes.where(np.arange(len(votes)) % 3 == 0)
    arrays = {
        name: np.concatenate([getattr(votes, name), getattr(again, name)])
        for name in ("a", "b", "y", "raters", "prompts", "left", "weights", "chances")
    }
    assert fit(twice) == pytest.approx(fit(replace(votes, items=(), **arrays)), abs=1e-8)


def test_without_ties_it_is_bradley_terry() -> None:
    votes = ballots(simulated(ties=0.0), methods=METHODS)
    found = fit(votes)
    assert found.shape == (3,)
    # Zermelo's and Ford's fixed point: p_i = wins_i / sum of n_ij / (p_i + p_j)
    wins, played = np.zeros(3), np.zeros((3, 3))
    for a, b, y in zip(votes.a, votes.b, votes.y, strict=True):
        wins[a if y == 1 else b] += 1
        played[a, b] += 1
        played[b, a] += 1
    p = np.ones(3)
    for _ in range(2000):
        p = wins / (played / (p[:, None] + p[None, :])).sum(axis=1)
        p /= np.exp(np.log(p).mean())
    assert found == pytest.approx(np.log(p), abs=1e-6)
    assert strengths(votes).tie == 0.0


def test_two_methods_have_a_closed_form() -> None:
    # log of wins over losses, half to each side; v = ties / sqrt(wins * losses)
    votes = ballots(simulated(quality=(0.0, 0.8), raters=12))
    wins, losses, ties = (int(np.sum(votes.y == y)) for y in (1.0, 0.0, 0.5))
    found = strengths(votes)
    assert found.strengths[0].mean == pytest.approx(math.log(wins / losses) / 2)
    assert found.tie == pytest.approx(ties / math.sqrt(wins * losses))


def test_the_covariance_is_the_written_out_sandwich() -> None:
    votes = ballots(simulated(), methods=METHODS)
    parameters = fit(votes)

    def scores(at: np.ndarray) -> np.ndarray:
        rows = []
        for n in range(len(votes)):
            one = votes.where(np.arange(len(votes)) == n)
            row = []
            for k in range(4):
                step = np.eye(4)[k] * 1e-5
                free = [plain_loss(at + sign * step, one) - (at + sign * step)[:3].sum() ** 2 for sign in (1, -1)]
                row.append(-(free[0] - free[1]) / 2e-5)
            rows.append(row)
        return np.array(rows)

    moved = [scores(parameters + sign * np.eye(4)[k] * 1e-3).sum(axis=0) for k in range(4) for sign in (1, -1)]
    hessian = -np.array([(moved[2 * k] - moved[2 * k + 1]) / 2e-3 for k in range(4)])
    bread = np.linalg.pinv(hessian, rcond=1e-6)
    table = scores(parameters)
    variance = {}
    for name, labels in (("r", votes.raters), ("p", votes.prompts), ("c", votes.raters * 1000 + votes.prompts)):
        sums = np.array([table[labels == one].sum(axis=0) for one in np.unique(labels)])
        contrast = (np.eye(4)[0] - np.array([1, 1, 1, 0]) / 3) @ bread
        variance[name] = float(np.sum((sums @ contrast) ** 2)) * len(sums) / (len(sums) - 1)
    expected = max(variance["r"] + variance["p"] - variance["c"], min(variance["r"], variance["p"]))
    interval = strengths(votes).strengths[0]
    from scipy.stats import t as student

    half = student.ppf(0.975, min(8, 10) - 1) * math.sqrt(expected)
    assert interval.high - interval.mean == pytest.approx(half, rel=1e-3)


def test_ranks_follow_what_is_surely_better() -> None:
    found = strengths(ballots(simulated(quality=(0.0, 2.0, 4.0), raters=12, prompts=16), methods=METHODS))
    assert found.ranks == ((3, 3), (2, 2), (1, 1))
    even = strengths(ballots(simulated(quality=(0.0, 0.0, 0.0)), methods=METHODS))
    assert all(low == 1 or high == 3 for low, high in even.ranks)


def vote(a: str, b: str, y: float, n: int) -> Vote:
    return Vote(f"i{n}", "preference", f"r{n % 3}", f"p{n % 4}", a, b, y, a, n, 1.0)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("x", "y", 1.0)] * 6 + [("y", "z", 1.0), ("y", "z", 0.0)], "x never lost"),
        ([("x", "y", 1.0), ("x", "y", 0.0), ("u", "z", 1.0), ("u", "z", 0.0)], "no chain of comparisons"),
    ],
)
def test_votes_that_fix_no_strengths_are_told(rows: Sequence[tuple[str, str, float]], told: str) -> None:
    votes = ballots([vote(*row, n) for n, row in enumerate(rows)])
    found = strengths(votes)
    assert told in found.reason
    assert all(math.isnan(one.mean) and one.reason == found.reason for one in found.strengths)
    assert set(found.ranks) == {(1, len(votes.methods))}


def test_a_tie_links_only_methods_that_lost_too() -> None:
    # x never lost to y and ties with it: the likelihood grows for ever as x and v grow together
    rows = [("x", "y", 1.0), ("x", "y", 0.5), ("y", "z", 0.5), ("y", "z", 1.0)] * 3
    assert "no finite strengths" in strengths(ballots([vote(*row, n) for n, row in enumerate(rows)])).reason
    # z is linked with the others by ties alone, and v is known from x and y
    rows = [("x", "y", 1.0), ("x", "y", 0.5), ("x", "y", 0.0), ("y", "z", 0.5)] * 3
    votes = ballots([vote(*row, n) for n, row in enumerate(rows)])
    found = strengths(votes)
    assert not found.reason
    assert [one.mean for one in found.strengths] == pytest.approx(plain_fit(votes)[:3], abs=1e-3)


def test_all_ties_are_told() -> None:
    votes = ballots([vote("x", "y", 0.5, n) for n in range(9)])
    assert strengths(votes).reason == "no strengths: all votes are ties"
