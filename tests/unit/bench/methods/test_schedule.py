from __future__ import annotations

import math
from typing import Any

import pytest

from bench.errors import UsageError
from bench.methods.schedule import FIELDS, Schedule, number_text


def test_constant() -> None:
    assert Schedule("constant", value=0.25).weights(3) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("k", "expected"), [(0, (1, 1, 1, 1)), (3, (0, 0, 0, 1)), (4, (0, 0, 0, 0))])
def test_step_is_base_first_and_reversed_step_its_mirror(k: int, expected: tuple[float, ...]) -> None:
    assert Schedule("step", switch_step=k).weights(4) == expected
    assert Schedule("reversed_step", switch_step=k).weights(4) == tuple(1 - weight for weight in expected)


def test_linear_is_a_power_of_one() -> None:
    assert Schedule("linear").weights(4) == Schedule("power", power=1).weights(4) == (0.0, 0.25, 0.5, 0.75)
    assert Schedule("power", power=2).weights(4) == (0.0, 0.0625, 0.25, 0.5625)


def test_sigmoid_is_half_at_its_centre_and_rises() -> None:
    weights = Schedule("sigmoid", centre=0.5, sharpness=10).weights(40)
    assert weights[20] == 0.5
    assert list(weights) == sorted(weights)
    assert weights[0] == pytest.approx(1 / (1 + math.exp(5)))


@pytest.mark.parametrize("sharpness", [1e6, -1e6])
def test_a_very_sharp_sigmoid_does_not_overflow(sharpness: float) -> None:
    assert set(Schedule("sigmoid", centre=0.5, sharpness=sharpness).weights(4)) == {0.0, 0.5, 1.0}


def test_table_is_taken_as_it_is() -> None:
    assert Schedule("table", table=(0.0, 0.5, 1.0)).weights(3) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule("step", switch_step=41), r"switch step 41 is outside 0\.\.40 \(the suite takes 40 steps\)"),
        (Schedule("step", switch_step=-1), r"switch step -1 is outside 0\.\.40"),
        (Schedule("step"), "a schedule of kind 'step' needs switch_step"),
        (Schedule("power", power=0), "power must be above 0, got 0"),
        (Schedule("power", power=math.nan), "power must be above 0, got nan"),
        (Schedule("constant", value=1.5), r"must be in 0\.\.1, got 1.5"),
        (Schedule("constant", value=math.nan), r"must be in 0\.\.1, got nan"),
        (Schedule("table", table=(0.0, 1.0)), "the table has 2 weights, but the suite takes 40 steps"),
        (Schedule("table", table=(2.0,) * 40), r"must be in 0\.\.1, got 2"),
        (Schedule("sigmoid", centre=0.5, sharpness=math.inf), "sharpness must be a finite number"),
    ],
)
def test_settings_out_of_range(schedule: Schedule, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        schedule.weights(40)


def test_no_steps() -> None:
    with pytest.raises(UsageError, match="steps must be at least 1, got 0"):
        Schedule("linear").weights(0)


def test_an_unknown_kind() -> None:
    kind: Any = "stair"
    with pytest.raises(UsageError, match="schedule kind 'stair' is not one of constant, step"):
        Schedule(kind)


def test_every_kind_knows_its_fields() -> None:
    for kind, names in FIELDS.items():
        assert all(name in Schedule.__slots__ for name in names), kind


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"kind": "step", "switch_step": "5"},
            "switch_step of a schedule of kind 'step' must be an integer, got '5'",
        ),
        ({"kind": "step", "switch_step": 5.0}, "must be an integer, got 5.0"),
        ({"kind": "step", "switch_step": True}, "must be an integer, got True"),
        ({"kind": "constant", "value": "half"}, "value of a schedule of kind 'constant' must be a number, got 'half'"),
        ({"kind": "table", "table": "0,1"}, "must be a list of numbers, got '0,1'"),
        ({"kind": "table", "table": (0.0, "1")}, "must be a list of numbers, got '1'"),
    ],
)
def test_settings_of_another_type(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Schedule(**settings)


def test_numbers_in_names_are_short_and_never_the_same_for_two() -> None:
    values = [0.5, 1, 30, 1e-05, 0.1, 1 / 3, 0.3333333, 1234567, 1234568.0]
    texts = [number_text(value) for value in values]
    assert texts[:5] == ["0.5", "1", "30", "1e-05", "0.1"]
    assert [float(text) for text in texts] == values
