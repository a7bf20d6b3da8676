from __future__ import annotations

import pytest

from bench.cli.options import parse_settings, split
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ([], []),
        (["a"], ["a"]),
        (["a,b", "c"], ["a", "b", "c"]),
        ([" a , b ", "a"], ["a", "b"]),
        (["a,,b,"], ["a", "b"]),
    ],
)
def test_split(given: list[str] | None, expected: list[str]) -> None:
    assert split(given) == expected


def test_settings() -> None:
    assert parse_settings(["switch_step=20,30", " power = 2 ", "weights=a=b"]) == {
        "switch_step": "20,30",
        "power": "2",
        "weights": "a=b",
    }
    assert parse_settings(None) == {}


@pytest.mark.parametrize("pair", ["switch_step", "=3", "switch_step=", ""])
def test_settings_must_be_pairs(pair: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        parse_settings([pair])


def test_a_setting_given_twice_is_not_silently_the_last() -> None:
    with pytest.raises(UsageError, match="--set power=1,2"):
        parse_settings(["power=1", "power=2"])
