"""Tables of human votes -> votes on pairs of pictures, or of sets of pictures, of one prompt.

Four forms, known by their content: Pick-a-Pic's tables (parquet or CSV: caption, image_0_uid, image_1_uid, label_0,
label_1), HPDv2's train.json (prompt, file_path, human_preference) and test.json (prompt, image_path, rank,
raw_annotations), and plain rows (JSON Lines, JSON, CSV, TSV, parquet: prompt, a, b and choice, or votes_a, votes_b and
ties). A row that is no vote is left out and counted, with the reason.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.study.formats import MOST_BYTES, csv_rows, number, parquet_rows, text_of
from bench.study.lines import read_lines

PICK_A_PIC, HPD_PAIRS, HPD_RANKS, PLAIN = "Pick-a-Pic", "HPDv2 train", "HPDv2 test", "plain rows"
CHOICES = {"a": 1.0, "b": 0.0, "tie": 0.5}
MOST_VOTES = 5_000_000
_PROMPT, _RATER = ("prompt", "caption", "text"), ("rater", "user", "user_id", "annotator")
_COUNTS = ("votes_a", "votes_b", "ties")
_CONTRARY = 0.05  # of the pairs of pictures that annotators order against the mean ranking of their file


@dataclass(frozen=True, slots=True)
class TableVote:
    """A vote: a won (1.0), b won (0.0) or neither (0.5). One name of a picture or folder is a picture or its folder."""

    prompt: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    outcome: float
    rater: str = ""  # "" where the table does not say


@dataclass(slots=True)
class VoteTable:
    """The votes of a file in its order; what was left out, by reason; and what its reader should know."""

    form: str
    votes: list[TableVote] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def read_table(file: Path) -> VoteTable:
    """The votes of a file. UsageError: not readable, or in none of the known forms, or without a single vote."""
    rows = _rows(file)
    first: Mapping[str, Any] = next((row for row in rows if row), {})
    if {"label_0", "label_1"} <= first.keys() and {"image_0_uid", "image_1_uid"} <= first.keys():
        table = _read(PICK_A_PIC, rows, _pick)
    elif "human_preference" in first and {"file_path", "image_path"} & first.keys():
        table = _read(HPD_PAIRS, rows, _preferred)
    elif {"image_path", "rank"} <= first.keys():
        table = _ranked(rows)
    elif {"a", "b"} <= first.keys() and ("choice" in first or {"votes_a", "votes_b"} <= first.keys()):
        table = _read(PLAIN, rows, _plain)
    else:
        raise UsageError(
            f"{file} has none of the known forms of votes: rows of prompt, a, b, choice (or votes_a, votes_b, ties); "
            "Pick-a-Pic's caption, image_0_uid, image_1_uid, label_0, label_1; HPDv2's prompt, file_path, "
            "human_preference, or prompt, image_path, rank"
        )
    if not table.votes:
        told = "; ".join(f"{count}: {why}" for why, count in table.left_out.most_common(3))
        raise UsageError(f"{file} has no vote that can be used ({told or 'it has no rows'})")
    return table


def _rows(file: Path) -> Sequence[Mapping[str, Any]]:
    if file.suffix == ".parquet" and file.is_file():
        return parquet_rows(file)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    if size > MOST_BYTES:
        raise UsageError(f"{file} has more than 1 GiB: give it in parts, or as parquet")
    if file.suffix == ".jsonl":
        return list(read_lines(file))
    text = text_of(file)
    if text.lstrip()[:1] not in ("[", "{"):
        return csv_rows(text, file)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not valid JSON: {error}; name a file of JSON Lines .jsonl") from None
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise UsageError(f"{file} must be a JSON list of objects, one a row")
    return data


class _NoVote(Exception):
    """A row that is no vote; the text says why."""


def _read(form: str, rows: Iterable[Mapping[str, Any]], votes_of: Any) -> VoteTable:
    table = VoteTable(form)
    for row in rows:
        try:
            table.votes += votes_of(row)
        except _NoVote as fault:
            table.left_out[str(fault)] += 1
        if len(table.votes) > MOST_VOTES:
            raise UsageError(f"there are more than {MOST_VOTES:,} votes: give the table in parts")
    return table


def _pick(row: Mapping[str, Any]) -> list[TableVote]:
    if str(row.get("has_label", "")).strip().lower() in ("false", "0"):
        raise _NoVote("no label")
    labels = number(row.get("label_0")), number(row.get("label_1"))
    if labels not in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
        raise _NoVote("labels that are not 1 and 0, or 0.5 twice")
    a, b = (_pictures(row.get(key)) for key in ("image_0_uid", "image_1_uid"))
    return [_vote(row, a, b, float(labels[0] or 0.0), _RATER)]


def _preferred(row: Mapping[str, Any]) -> list[TableVote]:
    names = _list(row.get("file_path") or row.get("image_path"))
    preference = [number(one) for one in _list(row.get("human_preference"))]
    if len(names) != 2 or preference not in ([1.0, 0.0], [0.0, 1.0]):
        raise _NoVote("not two pictures of which one is preferred")
    return [_vote(row, _pictures(names[0]), _pictures(names[1]), float(preference[0] or 0.0), ("user_hash",))]


def _plain(row: Mapping[str, Any]) -> list[TableVote]:
    a, b = _pictures(row.get("a")), _pictures(row.get("b"))
    if "choice" in row:
        choice = str(row.get("choice") or "").strip().lower()
        if choice not in CHOICES:
            raise _NoVote("a choice that is not a, b or tie")
        return [_vote(row, a, b, CHOICES[choice], _RATER)]
    counts = [number(row.get(key) or 0) for key in _COUNTS]
    if any(count is None or count < 0 or count != int(count) or count > MOST_VOTES for count in counts):
        raise _NoVote("votes_a, votes_b or ties that is no count")
    won = [outcome for count, outcome in zip(counts, (1.0, 0.0, 0.5), strict=True) for _ in range(int(count or 0))]
    if not won:
        raise _NoVote("no votes")
    return [_vote(row, a, b, outcome, ()) for outcome in won]


def _ranked(rows: Sequence[Mapping[str, Any]]) -> VoteTable:
    """Votes on all pairs of pictures of a ranking, 0 or 1 the best: each annotator's, or the mean of all."""
    raw, mean = _read(HPD_RANKS, rows, _annotated), _read(HPD_RANKS, rows, _averaged)
    contrary = _contrary(rows)
    if raw.votes and contrary <= _CONTRARY:
        raw.notes.append("each annotator's ranking is a vote on every pair of its pictures")
        return raw
    why = (
        f"the annotators' own rankings order {contrary:.0%} of the pairs against their mean, so that they are not used"
        if raw.votes
        else "there are no rankings of single annotators"
    )
    mean.notes.append(f"{why}: the mean ranking of each prompt is one vote on every pair of its pictures")
    return mean


def _annotated(row: Mapping[str, Any]) -> list[TableVote]:
    given = row.get("raw_annotations") or row.get("raw_annotation")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given) or not given:
        raise _NoVote("no rankings of single annotators")
    return [vote for one in given for vote in _pairs(row, one.get("rank"), str(one.get("user_hash") or ""))]


def _averaged(row: Mapping[str, Any]) -> list[TableVote]:
    return list(_pairs(row, row.get("rank"), ""))


def _pairs(row: Mapping[str, Any], rank: Any, rater: str) -> Iterator[TableVote]:
    names, ranks = _list(row.get("image_path")), [number(one) for one in _list(rank)]
    if len(names) != len(ranks) or len(names) < 2 or any(one is None for one in ranks):
        raise _NoVote("a ranking that does not have one rank for each of its pictures")
    values = [float(one or 0.0) for one in ranks]
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            outcome = 0.5 if values[i] == values[j] else float(values[i] < values[j])
            vote = _vote(row, _pictures(names[i]), _pictures(names[j]), outcome, ())
            yield TableVote(vote.prompt, vote.a, vote.b, outcome, rater)


def _contrary(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of pairs whose order by the annotators' mean rank is not the order of the file's `rank`."""
    wrong = pairs = 0
    for row in rows:
        given = row.get("raw_annotations") or row.get("raw_annotation")
        ranks = [_list(one.get("rank")) for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        mean = [number(one) for one in _list(row.get("rank"))]
        ranks = [one for one in ranks if len(one) == len(mean)]
        if not ranks or any(one is None for one in mean) or any(number(one) is None for rank in ranks for one in rank):
            continue
        sums = [sum(float(number(rank[i]) or 0.0) for rank in ranks) for i in range(len(mean))]
        for i in range(len(mean)):
            for j in range(i + 1, len(mean)):
                pairs += 1
                wrong += (sums[i] - sums[j]) * (float(mean[i] or 0.0) - float(mean[j] or 0.0)) < 0
    return wrong / pairs if pairs else 0.0


def _vote(
    row: Mapping[str, Any], a: tuple[str, ...], b: tuple[str, ...], outcome: float, raters: Sequence[str]
) -> TableVote:
    prompt = next((_text(row[key]) for key in _PROMPT if row.get(key) is not None), "")
    if not prompt:
        raise _NoVote("no prompt")
    if a == b:
        raise _NoVote("a and b are the same")
    rater = next((text for key in raters if (text := _text(row.get(key)))), "")
    return TableVote(prompt, a, b, outcome, rater)


def _pictures(value: Any) -> tuple[str, ...]:
    """The names of one side: a text is one name, and "x.png|y.png" or a list are several."""
    names = [str(one).strip() for one in value] if isinstance(value, list) else str(value or "").split("|")
    names = [name.strip() for name in names]
    if not names or not all(names):
        raise _NoVote("a side without a picture")
    return tuple(names)


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
