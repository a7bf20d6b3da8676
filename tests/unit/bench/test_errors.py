from __future__ import annotations

import pytest

from bench.errors import BenchError, MissingError, NotComparableError, UsageError, suggest, unknown


@pytest.mark.parametrize(("kind", "code"), [(UsageError, 2), (NotComparableError, 3), (MissingError, 4)])
def test_each_kind_has_the_exit_code_of_the_contract(kind: type[BenchError], code: int) -> None:
    assert issubclass(kind, BenchError)
    assert kind.exit_code == code


def test_suggest_finds_the_nearest_name_whatever_the_case() -> None:
    assert suggest("refk", ["base", "refl"]) == " Did you mean 'refl'?"
    assert suggest("LPIPS", ["lpips", "fid"]) == " Did you mean 'lpips'?"


def test_suggest_is_silent_when_nothing_is_near() -> None:
    assert suggest("zzz", ["base", "refl"]) == ""
    assert suggest("zzz", []) == ""


def test_unknown_names_the_nearest_and_all() -> None:
    assert str(unknown("method", "refk", ["refl", "base"])) == (
        "unknown method 'refk'. Did you mean 'refl'? Known methods: base, refl."
    )
    assert str(unknown("suite", "x", [])) == "unknown suite 'x'. There are no suites."
