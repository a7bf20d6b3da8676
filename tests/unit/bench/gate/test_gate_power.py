"""The null test of the gate, with fixed seeds; benchmarks/gate_power.py is the large version."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


def _script() -> dict[str, Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        return runpy.run_path(str(FOLDER / "gate_power.py"))
    finally:
        sys.path.remove(str(FOLDER))


POWER = _script()


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 3], ids=[POWER["WORLDS"][index].name for index in (0, 3)])
def test_another_seed_passes_and_a_planted_drop_is_caught(index: int) -> None:
    null, caught = POWER["power"](POWER["WORLDS"][index], cases=40)
    assert null["failed"] <= 2
    assert caught >= 32


@pytest.mark.slow
def test_what_plan_asks_for_lets_a_null_pass() -> None:
    (world,) = [world for world in POWER["WORLDS"] if world.name.startswith("one metric, 32 prompts, what --plan")]
    null, _ = POWER["power"](world, cases=30)
    assert null["passed"] >= 24
