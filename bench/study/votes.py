"""Answers of a study as data: one `Vote` per answered item, read back from the study's folder.

A study folder holds `study.json` (the manifest), `items.jsonl` (one `Item` a line), `plan.jsonl`, `assets/` and
`study.db`. Votes are read through `bench.study.store.rows`, whose rows have the fields of `Vote` as keys. A folder
with `votes.jsonl` and without `study.db` is read from that file: the same keys, one row a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from bench.errors import MissingError, UsageError
from bench.study.lines import DATABASE, ITEMS, MANIFEST, NAMED, VOTES, read_lines

Kind = Literal["real", "repeat", "check", "practice"]
KINDS: tuple[Kind, ...] = ("real", "repeat", "check", "practice")
OUTCOMES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer: which of two methods a rater preferred on one item. Text as the study holds it; it is untrusted."""

    item: str
    task: str  # preference | diversity | alignment
    rater: str
    prompt_id: str
    method_a: str
    method_b: str
    outcome: float  # 1.0 where a won, 0.0 where b won, 0.5 a tie
    left: str  # the method that was shown on the left
    order: int  # the place of the item in the rater's own order, from 0
    seconds: float  # from when the item was shown to the answer; NaN where unknown
    kind: Kind = "real"  # repeat: shown a second time; check: the answer is known; practice: never counted
    chance: float = math.nan  # adaptive plans: the probability with which the pair was drawn; NaN: balanced plan
    source: str = ""  # how it came: web, simulated, the kind of file; "": not on record


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a study: two methods on one prompt (and sample, for one image of each)."""

    item: str
    task: str
    prompt_id: str
    prompt: str
    method_a: str
    method_b: str
    sample: int | None = None
    repeated_of: str | None = None  # of kind repeat: the item that it repeats
    check: float | None = None  # of kind check: the outcome that is right (1.0: a, 0.0: b)


def read_votes(folder: Path | str, database: str | None = None) -> list[Vote]:
    """All votes of a study, practice included, in the order in which they were stored; `database`: in PostgreSQL.

    MissingError: no such study, or it has no votes file. UsageError: a row that is no vote, with its number.
    """
    return [vote_of(row, f"{folder}, vote {number}") for number, row in enumerate(_rows(Path(folder), database), 1)]


def _rows(folder: Path, database: str | None) -> Iterator[Mapping[str, Any]]:
    if database is not None or any((folder / name).exists() for name in (DATABASE, NAMED)):
        from bench.study.store import rows

        return rows(folder, database)
    if (folder / VOTES).exists():
        return read_lines(folder / VOTES)
    if not (folder / MANIFEST).exists():
        raise MissingError(f"{folder} is no study: give a folder that `bench study make` wrote")
    raise MissingError(f"{folder} has no votes yet: collect some with `bench study serve` or `bench study import`")


def vote_of(row: Mapping[str, Any], where: str) -> Vote:
    """A row as a `Vote`; `where` begins the message of the UsageError that names what is wrong with it."""
    known = {field.name for field in fields(Vote)}
    missing = sorted({"item", "task", "rater", "prompt_id", "method_a", "method_b", "outcome", "left"} - set(row))
    if missing:
        raise UsageError(f"{where} has no {missing[0]}")
    given: dict[str, Any] = {key: value for key, value in row.items() if key in known}
    given["source"] = str(given.get("source") or "")
    for key in ("item", "task", "rater", "prompt_id", "method_a", "method_b", "left"):
        if not isinstance(given[key], str) or not given[key]:
            raise UsageError(f"{where}: {key} must be a string that is not empty, not {given[key]!r}")
    given["outcome"] = _number(where, "outcome", given["outcome"])
    for key in ("seconds", "chance"):
        given[key] = math.nan if given.get(key) is None else _number(where, key, given[key])
    order = given.setdefault("order", 0)
    if isinstance(order, bool) or not isinstance(order, int):
        raise UsageError(f"{where}: order must be an integer, not {order!r}")
    vote = Vote(**given)
    _check(vote, where)
    return vote


def _number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where}: {key} must be a number, not {value!r}")
    return float(value)


def _check(vote: Vote, where: str) -> None:
    if vote.outcome not in OUTCOMES:
        raise UsageError(f"{where}: outcome must be 1 (a won), 0 (b won) or 0.5 (a tie), not {vote.outcome:g}")
    if vote.kind not in KINDS:
        raise UsageError(f"{where}: kind must be one of {', '.join(KINDS)}, not {vote.kind!r}")
    if vote.method_a == vote.method_b and vote.kind != "check":  # a check may show a method against itself, spoiled
        raise UsageError(f"{where}: method_a and method_b are both '{vote.method_a}', but two must be compared")
    if vote.left not in (vote.method_a, vote.method_b):
        raise UsageError(f"{where}: left must be '{vote.method_a}' or '{vote.method_b}', not '{vote.left}'")
    if math.isfinite(vote.chance) and not 0 < vote.chance <= 1:
        raise UsageError(f"{where}: chance must be a probability above 0, not {vote.chance:g}")


def read_items(folder: Path | str) -> dict[str, Item]:
    """The items of a study by their id; {} where the folder has no items.jsonl (votes from elsewhere).

    UsageError: a line that is no item.
    """
    file = Path(folder) / ITEMS
    if not file.exists():
        return {}
    found = [_item(row, f"{file}, item {number}") for number, row in enumerate(read_lines(file), 1)]
    return {item.item: item for item in found}


def _item(row: Mapping[str, Any], where: str) -> Item:
    known = {field.name for field in fields(Item)}
    given = {key: value for key, value in row.items() if key in known}
    for key in ("item", "task", "prompt_id", "method_a", "method_b"):
        if not isinstance(given.get(key), str):
            raise UsageError(f"{where}: {key} must be a string")
    given.setdefault("prompt", "")
    if given.get("check") is not None:
        given["check"] = _number(where, "check", given["check"])
    return Item(**given)
