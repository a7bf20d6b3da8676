"""Standardised gains: no unit and no distance from zero changes them, and equal values have none."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.tradeoff.standardised import prompt_moments, standardised_gain

PROMPTS = np.repeat(np.arange(8), 4)
VALUES = np.random.default_rng(0).normal(size=32)


def gain(before: np.ndarray, after: np.ndarray) -> float | None:
    found = standardised_gain(prompt_moments(before, PROMPTS, 8), prompt_moments(after, PROMPTS, 8))
    return None if found is None else found.value


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    assert gain(VALUES * unit, (VALUES + 0.5) * unit) == pytest.approx(0.5 / VALUES.std(ddof=1), rel=1e-9)


@pytest.mark.parametrize("level", [0.1, 21.3, 1e6])
def test_equal_values_have_no_spread_wherever_they_lie(level: float) -> None:
    before = np.full(32, level)
    assert gain(before, before * 1.01) is None
    assert gain(np.zeros(32), np.zeros(32)) is None
