"""The null test of the gate, with fixed seeds; benchmarks/gate_power.py is the large version."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

POWER = runpy.run_path(str(Path(__file__).parents[4] / "benchmarks" / "gate_power.py"))


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 3], ids=[POWER["WORLDS"][index].name for index in (0, 3)])
def test_another_seed_passes_and_a_planted_drop_is_caught(index: int) -> None:
    null, caught = POWER["power"](POWER["WORLDS"][index], cases=100)
    assert null["failed"] <= 5
    assert caught >= 80
