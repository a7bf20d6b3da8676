"""Every form of a whole checkpoint is exact, or refused by what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.bench.models.refused_forms import REFUSED, refusals
from tests.unit.bench.models.whole_forms import FAMILIES, rows


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_form_is_exact(tmp_path: Path, family: str, exhaustive: bool) -> None:
    found = {form: text for form, _, text in rows(tmp_path, (family,), exhaustive=exhaustive)}
    assert len(found) >= (30 if exhaustive else 10)
    wrong = {form: text for form, text in found.items() if not text.startswith("exact (")}
    assert not wrong


@pytest.mark.slow
def test_every_refusal_says_what_it_is(tmp_path: Path) -> None:
    found = {one.name: (one.words, text) for one, text in refusals(tmp_path)}
    assert len(found) == len(REFUSED)
    wrong = {name: text for name, (words, text) in found.items() if not re.search(words, text)}
    assert not wrong
    again = [name for name, (_, text) in found.items() if "again" in text]
    assert set(again) == {"truncated file", "file with a bad header", "a Git LFS pointer", "a web page"}
