"""The page of all keys: as the schema has them, each with a meaning."""

from __future__ import annotations

from pathlib import Path

from bench.suite.keys import MEANINGS, page
from bench.suite.schema import Suite

PAGE = Path(__file__).parents[4] / "docs" / "suite_keys.md"


def test_every_key_has_a_meaning_and_nothing_else_has() -> None:
    schema = Suite.model_json_schema()
    parts = {"Suite": schema, **schema["$defs"]}
    assert set(MEANINGS) == set(parts)
    for name, part in parts.items():
        assert set(MEANINGS[name]) == set(part["properties"]), name
        assert all(MEANINGS[name].values()), name


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_types_ranges_and_defaults_are_those_of_the_schema() -> None:
    lines = page().splitlines()

    def row(key: str) -> list[str]:
        return next([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith(f"| `{key}`"))

    assert row("samples")[1:3] == ["integer, from 1, to 100000", "`5`"]
    assert row("resolution")[1:3] == ["integer, from 8, to 32768, multiple of 8", "`512`"]
    assert row("dtype")[1].startswith("one of `float32`, `float16`, `bfloat16`")
    assert row("prompts")[2] == "**required**"
    assert row("replicates")[1] == "list of string"
    assert row("true_cfg")[1:3] == ["true or false", "`false`"]
