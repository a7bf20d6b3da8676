"""Every form of an adapter is exact, or refused by what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.bench.models.adapter_forms import FAMILIES, rows
from tests.unit.bench.models.refused_adapters import REFUSED, refusals


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_form_is_exact(tmp_path: Path, family: str, exhaustive: bool) -> None:
    found = {form: said for form, _, said in rows(tmp_path, (family,), exhaustive=exhaustive)}
    assert len(found) >= (45 if exhaustive else 15)
    wrong = {form: said for form, said in found.items() if not said.startswith("exact (")}
    assert not wrong


@pytest.mark.slow
def test_every_refusal_says_what_it_is(tmp_path: Path) -> None:
    found = {one.name: (one.words, said) for one, said in refusals(tmp_path)}
    assert len(found) == len(REFUSED)
    wrong = {name: said for name, (words, said) in found.items() if not re.search(words, said)}
    assert not wrong
    again = [name for name, (_, said) in found.items() if "again" in said]
    damaged = {"half of a layer is missing", "truncated file", "pattern that is no object", "pattern that is no number"}
    assert set(again) == damaged
