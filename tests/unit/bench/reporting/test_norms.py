"""Ratios of norms from a run to the page: recorded with its images, told by how many they are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.reporting.norms import norms_section, ratio_text
from bench.store.records import NormRow
from bench.store.run_store import RunStore


def rows(step: int, *values: tuple[str, float]) -> list[NormRow]:
    return [NormRow(prompt, index, step, ratio) for index, (prompt, ratio) in enumerate(values)]


def test_the_interval_is_over_prompts() -> None:
    """Samples of a prompt are averaged first, to 1.0 and 1.2: 12.7 standard errors each way."""
    text = ratio_text(rows(0, ("a", 0.9), ("a", 1.1), ("b", 1.2)))
    assert text == ("1.100", "[-0.171, 2.371]")
    assert ratio_text(rows(0, ("a", 0.9), ("a", 1.1))) == ("1.000", "one prompt")
    assert ratio_text(rows(0, ("a", float("inf")))) == ("-", "")
    assert ratio_text([]) == ("-", "")


def table(tmp_path: Any, norms: dict[str, list[NormRow]]) -> Any:
    found = []
    for name, recorded in norms.items():
        store = RunStore.create(tmp_path, "tiny", name, "0" * 8)
        store.append_norms(recorded)
        found.append(SimpleNamespace(name=name, run=SimpleNamespace(path=store.path, n_images=4)))
    return SimpleNamespace(rows=found)


def test_the_section(tmp_path: Any) -> None:
    recorded = [one for step in range(20) for one in rows(step, ("a", 1.0 + step), ("b", 1.0 + step))]
    found = norms_section(table(tmp_path, {"base": [], "aig": recorded}))
    assert found is not None
    assert found["steps"] == [0, 3, 6, 10, 13, 16, 19]
    assert found["every"] is False
    (line,) = found["lines"]  # type: ignore[misc]
    assert (line.row.name, line.images) == ("aig", "2 of 4")
    assert line.cells[1] == ("4.000", "[4.000, 4.000]")
    assert norms_section(table(tmp_path / "none", {"base": []})) is None


def test_the_last_of_an_image_and_step_counts(tmp_path: Any) -> None:
    store = RunStore.create(tmp_path, "tiny", "aig", "0" * 8)
    store.append_norms([NormRow("a", 0, 1, 1.0), NormRow("a", 1, 1, 1.0)])
    store.append_norms([NormRow("a", 0, 1, 2.0)])
    store.append_norms([])
    assert store.norms() == [NormRow("a", 0, 1, 2.0), NormRow("a", 1, 1, 1.0)]
    assert len(list((store.path / "norms").iterdir())) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_a_damaged_part_is_told_of(tmp_path: Any, said: list[str], kept: bool) -> None:
    store = RunStore.create(tmp_path, "tiny", "aig", "0" * 8)
    store.append_norms([NormRow("a", 0, 1, 1.0)])
    (part,) = (store.path / "norms").iterdir()
    if not kept:
        part.write_bytes(part.read_bytes()[:-9])
    assert len(store.norms()) == int(kept)
