"""What the pages say of results: between marks, each sentence and number a claim of the ledger, none outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.analysis.claims_ledger import Claim, read_ledger

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
MARKED = re.compile(r"<!-- results(?P<by>: [^>]+?)? -->\n(?P<text>.*?)<!-- /results -->", re.S)
CLAIM = re.compile(r"<!-- claim: ([\w .-]+?) -->")
NUMBER = r"[−+-]?\d+(?:\.\d+)?"
WITH_INTERVAL = re.compile(rf"({NUMBER})(?: %)?\s*\[({NUMBER}), ?({NUMBER})\]")
MUST = ("combined-half-open", "imagerefl-half-open", "refl-image-reward-open", "imagerefl-pickscore-cost")
MUST += ("imagerefl-hpsv2-cost", "imagerefl-hpsv2-open", "imagerefl-combined-image-reward", "imagerefl-combined-lpips")


@pytest.fixture(scope="module")
def ledger() -> dict[str, Claim]:
    return {claim.id: claim for claim in read_ledger(ROOT / "results" / "claims" / "readme.toml")[0]}


def parts(text: str) -> list[tuple[str, list[str]]]:
    """Text up to each claim mark with the ids of that mark; what follows the last one has none."""
    found, start = [], 0
    for mark in CLAIM.finditer(text):
        found.append((text[start : mark.start()], mark[1].split()))
        start = mark.end()
    return [*found, (text[start:], [])]


def value(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_number_with_an_interval_stands_outside_of_marks(page: Path) -> None:
    outside = re.sub(r"```.*?```", "", MARKED.sub("", page.read_text(encoding="utf-8")), flags=re.S)
    assert WITH_INTERVAL.findall(outside) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_sentence_between_marks_carries_a_claim(page: Path, ledger: dict[str, Claim]) -> None:
    for block in MARKED.finditer(page.read_text(encoding="utf-8")):
        if block["by"]:  # a table that a command makes, which is named
            assert all(line.startswith("|") for line in block["text"].splitlines() if line.strip())
            continue
        for text, ids in parts(block["text"]):
            if not text.strip():
                continue
            assert ids, f"no claim: {text.strip()}"
            assert set(ids) <= ledger.keys()
            assert text.strip().count(". ") == 0, f"two sentences with one mark: {text.strip()}"
            for number in WITH_INTERVAL.findall(text):
                printed = tuple(map(value, number))
                assert any(printed == pytest.approx(ledger[one].reported) for one in ids), (ids, printed)


def test_what_the_numbers_do_not_carry_is_said(ledger: dict[str, Claim]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = {one for mark in CLAIM.findall(text) for one in mark.split()}
    assert set(MUST) <= said
    assert said == ledger.keys()
    assert "buy most of it back" not in text
    assert "does not follow" not in text


def test_a_planted_number_is_found() -> None:
    assert WITH_INTERVAL.findall("base has 0.17 [−0.12, 0.49] and 47 % [11, 76]") != []
    assert parts("It holds. <!-- claim: a b -->\nOther.")[-1] == ("\nOther.", [])
