"""What compare, report and check print of a made world is what the functions say of its arrays."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        return runpy.run_path(str(FOLDER / "worlds_cli.py"))
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["skewness 2", "identical, the worst fifth missing"])
def test_commands_say_what_the_functions_say(script: dict[str, Any], name: str, tmp_path: Path) -> None:
    (world,) = [world for world in script["WORLDS"] if world.name == name]
    assert script["differs"](world, "20261128", 3, tmp_path) == []


def test_a_planted_disagreement_is_found(script: dict[str, Any]) -> None:
    world, rng = script["WORLDS"][0], np.random.default_rng(0)
    a, b = (world.make(rng, method, 0) for method in ("base", "refl"))
    (one,) = [script["difference"](world, a, b, "pickscore", 1)]
    cell = script["difference_cell"](one, script["decimals"]([one.interval]))
    line = f"pickscore 20.1 20.7 {cell.value} {cell.interval} {one.paired.p:.4f} {one.interval.n}"
    line += f" {script['number'](one.detects, script['decimals']([one.interval]))} {script['better_sign'](one)}"
    assert script["compared"](line, [one]) == []
    other = replace(one.paired, interval=replace(one.interval, low=one.interval.low - 0.1))
    assert script["compared"](line, [replace(one, paired=other)])
