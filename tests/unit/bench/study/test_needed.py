"""How many votes would decide: as many as a simulation needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from bench.analysis.stats import Interval
from bench.study.needed import Needed, votes_to_decide
from bench.study.winrates import WinRate


def pair(mean: float, half: float, votes: int = 120, clusters: int = 12) -> WinRate:
    rate = Interval(mean, mean - half, mean + half, votes, 0, clusters)
    return WinRate("a", "b", rate, votes, 0, 0, clusters, 20)


def test_it_is_the_size_whose_interval_excludes_half_with_the_power() -> None:
    needed = votes_to_decide(pair(0.55, 0.10))
    t, power = student.ppf(0.975, 11), student.ppf(0.9, 11)
    error = 0.10 / t
    # (t + power) errors at the new size are the distance
    assert needed.votes == pytest.approx(120 * ((t + power) * error / 0.05) ** 2)
    assert needed.raters == pytest.approx(12 * needed.votes / 120)
    assert needed.prompts == pytest.approx(20 * needed.votes / 120)


def test_a_study_of_that_size_decides_about_so_often() -> None:
    rng = np.random.default_rng(0)
    needed = votes_to_decide(pair(0.55, 0.98 / math.sqrt(400), votes=400, clusters=400))
    n = round(needed.votes)
    rates = rng.binomial(n, 0.55, size=4000) / n
    found = np.mean(rates - 1.96 * np.sqrt(rates * (1 - rates) / n) > 0.5)
    assert found == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (pair(0.5, 0.1), "unlikely to decide"),
        (pair(0.500001, 0.1), "unlikely to decide"),
        (pair(0.6, math.nan), "is unknown"),
        (pair(0.9, 0.1), "about 120 votes of 12 raters"),
    ],
)
def test_it_is_told(one: WinRate, told: str) -> None:
    assert told in votes_to_decide(one).text


def test_numbers_are_rounded_up_to_two_digits() -> None:
    assert Needed(1234.0, 41.2, 7.0).text == "about 1,300 votes of 42 raters would decide"
