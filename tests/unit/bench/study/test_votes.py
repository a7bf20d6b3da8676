"""Votes are read as they were written, and what is no vote is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.errors import MissingError, UsageError
from bench.study.votes import read_items, read_votes, vote_of
from tests.unit.bench.study.made import items_of, simulated, write_study

ROW = {
    "item": "i1", "task": "preference", "rater": "r1", "prompt_id": "p1", "method_a": "base", "method_b": "refl",
    "outcome": 1.0, "left": "refl", "order": 3, "seconds": 2.5, "kind": "real",
}  # fmt: skip


def test_votes_and_items_are_read_back(tmp_path: Path) -> None:
    votes = simulated()
    folder = write_study(tmp_path / "study", votes)
    assert [vote.item for vote in read_votes(folder)] == [vote.item for vote in votes]
    assert read_votes(folder)[5].outcome == votes[5].outcome
    assert math.isnan(read_votes(folder)[0].chance)
    assert read_items(folder) == items_of(votes)


def test_no_study_and_no_votes_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is no study"):
        read_votes(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(MissingError, match="no votes yet"):
        read_votes(tmp_path)
    assert read_items(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"outcome": 0.7}, "outcome must be 1"),
        ({"outcome": "1"}, "outcome must be a number"),
        ({"outcome": True}, "outcome must be a number"),
        ({"outcome": math.nan}, "outcome must be 1"),
        ({"left": "other"}, "left must be 'base' or 'refl'"),
        ({"kind": "joke"}, "kind must be one of"),
        ({"method_b": "base", "left": "base"}, "two must be compared"),
        ({"rater": ""}, "rater must be a string"),
        ({"order": 1.5}, "order must be an integer"),
        ({"chance": 0.0}, "chance must be a probability"),
        ({"chance": 1.5}, "chance must be a probability"),
    ],
)
def test_what_is_no_vote_is_named(change: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        vote_of({**ROW, **change}, "votes.jsonl, vote 1")


def test_a_missing_field_is_named() -> None:
    row = {key: value for key, value in ROW.items() if key != "left"}
    with pytest.raises(UsageError, match=r"vote 7 has no left"):
        vote_of(row, "vote 7")


def test_more_keys_and_no_time_are_fine() -> None:
    vote = vote_of({**ROW, "seconds": None, "browser": "x"}, "vote 1")
    assert math.isnan(vote.seconds)
    assert vote.order == 3


@pytest.mark.parametrize("line", ["{", "[]", "3"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "votes.jsonl").write_text(f"{json.dumps(ROW)}\n\n{line}\n")
    with pytest.raises(UsageError, match=r"votes\.jsonl, line 3"):
        read_votes(tmp_path)
