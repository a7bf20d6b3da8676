"""The original packages themselves, where an environment for them is named."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bench.doctor.parity import compare, environment


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    environment.VARIABLE not in os.environ,
    reason=f"{environment.VARIABLE} does not name the originals' Python (bench doctor --verify-metrics makes one)",
)
def test_equal_to_the_originals_live(recorded: dict[str, Any]) -> None:
    outcome, official = compare.verify()
    assert [row.wrong for row in outcome.rows] == [()] * len(outcome.rows)
    assert official["fixture"] == recorded["fixture"]
    for name, values in recorded["values"].items():  # what was recorded is what the originals say
        for old, new in zip(values, official["values"][name], strict=True):
            assert isinstance(old, float) == isinstance(new, float)
            if isinstance(old, float):
                assert new == pytest.approx(old, rel=0, abs=compare.TOLERANCES[name])
