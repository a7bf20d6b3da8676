"""Files of answers -> raw answers: bundles, Label Studio, Pick-a-Pic-like tables and plain CSV, by their content."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import MissingError, UsageError
from bench.formatting import one_line
from bench.study.exporting import EQUAL

BUNDLE, LABEL_STUDIO, PICK_A_PIC, PLAIN, CODES = "bundle", "label-studio", "pick-a-pic", "csv", "codes"
MOST_BYTES = 1 << 30
_REST, _MORE = "(more)", "more fields than the table has columns"
_CODE_COLUMNS = ("Completion code", "completion_code", "Answer.completion_code", "Answer.surveycode", "Answer.code")
_NAMED = ("task", "prompt_id", "method_a", "method_b")
_PICK = ("caption", "image_0_uid", "image_1_uid", "model_0", "model_1", "label_0", "label_1", "has_label", "user_id")


@dataclass(frozen=True, slots=True)
class Raw:
    """One answer as a file has it. `facts` has what names the item; `fault` says why it is no answer, if it is none."""

    rater: str
    choice: str  # left | right | tie | first | second (of the two that `facts` names) | a method's name
    facts: Mapping[str, str]
    seconds: float | None = None
    chance: float | None = None  # that a file states, for an adaptive study
    fault: str = ""


def read_answers(file: Path) -> tuple[str, list[Raw]]:
    """The kind of a file, and its answers. UsageError: not readable, or none of the known kinds."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} has more than 1 GiB: it is no file of answers")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    if file.suffix == ".parquet":
        return _table(parquet_rows(file), file)
    text = text_of(file)
    if text.lstrip()[:1] in ("{", "["):
        return _json(text, file)
    return _table(csv_rows(text, file), file)


def text_of(file: Path) -> str:
    """The text of a file. UsageError: not readable, or not UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text: save it as UTF-8") from None


def _json(text: str, file: Path) -> tuple[str, list[Raw]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not valid JSON: {error}") from None
    if isinstance(data, dict) and "bench_study" in data:
        return BUNDLE, list(_bundle(data, file))
    tasks = data if isinstance(data, list) else [data]
    if tasks and all(isinstance(task, dict) for task in tasks):
        if any("annotations" in task for task in tasks):
            return LABEL_STUDIO, [raw for task in tasks for raw in _annotations(task)]
        if any("item" in task and "choice" in task for task in tasks):
            return LABEL_STUDIO, [_minimal(task) for task in tasks]
    raise UsageError(f"{file} is neither answers of a bundle nor an export of Label Studio (JSON or JSON-MIN)")


def _bundle(data: Mapping[str, Any], file: Path) -> Iterator[Raw]:
    answers, rater, study = data.get("answers"), data.get("rater"), data.get("study")
    if data["bench_study"] != 1 or not isinstance(answers, list) or not isinstance(rater, str):
        raise UsageError(f"{file} is damaged, or of a newer version of bench: a bundle's answers are version 1")
    for one in answers:
        one = one if isinstance(one, dict) else {}
        facts = {"study": str(study), "handle": str(one.get("item"))}
        yield Raw(rater, _choice(one.get("choice")), facts, number(one.get("seconds")))


def _annotations(task: Mapping[str, Any]) -> Iterator[Raw]:
    """One answer an annotation: the pair's side, or the box for "about equal" where that is ticked."""
    data = task.get("data")
    handle = data.get("item") if isinstance(data, dict) else None
    for one in _list(task.get("annotations")):
        one = one if isinstance(one, dict) else {}
        facts, who = {"handle": str(handle)}, one.get("completed_by")
        rater = str(who.get("id") or who.get("email") if isinstance(who, dict) else who)
        if one.get("was_cancelled"):
            yield Raw(rater, "", facts, fault="skipped by the annotator")
            continue
        choice = ""
        for result in _list(one.get("result")):
            value = result.get("value") if isinstance(result, dict) else None
            value = value if isinstance(value, dict) else {}
            if EQUAL in _list(value.get("choices")):
                choice = "tie"
            elif choice != "tie" and isinstance(value.get("selected"), str):
                choice = value["selected"]
        yield Raw(rater, _choice(choice), facts, number(one.get("lead_time")))


def _minimal(task: Mapping[str, Any]) -> Raw:
    chosen = task.get("choice")
    chosen = chosen.get("selected") if isinstance(chosen, dict) else chosen
    choice = "tie" if task.get("equal") else _choice(chosen)
    return Raw(str(task.get("annotator")), choice, {"handle": str(task.get("item"))}, number(task.get("lead_time")))


def csv_rows(text: str, file: Path) -> list[dict[str, Any]]:
    """Rows of a table with a head, separated by commas, tabs or semicolons. UsageError: not readable."""
    head = text.split("\n", 1)[0]
    delimiter = "\t" if head.count("\t") > head.count(",") else ";" if head.count(";") > head.count(",") else ","
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=_REST, strict=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"{file} has the column '{one_line(twice[0])[:40]}' twice: leave the one that counts")
        return [{(key or "").strip(): value for key, value in row.items()} for row in reader]
    except csv.Error as error:
        raise UsageError(f"{file} is not a readable CSV: {error}") from None


def parquet_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of a parquet file, without pictures inside of it (jpg_...). UsageError: not readable."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingError("reading parquet needs pyarrow: run `pip install pyarrow`") from None
    try:
        names = pq.read_schema(file).names
        wanted = [name for name in names if not name.startswith("jpg_")]
        rows: list[dict[str, Any]] = pq.read_table(file, columns=wanted).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(f"{file} is not a readable parquet file: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    return rows


def _table(rows: list[dict[str, Any]], file: Path) -> tuple[str, list[Raw]]:
    columns = set(rows[0]) if rows else set()
    if {"label_0", "label_1"} <= columns and ({"image_0_uid", "image_1_uid"} <= columns or {"model_0"} <= columns):
        return PICK_A_PIC, list(map(_pick, rows))
    if {"rater", "choice"} <= columns and ("item" in columns or set(_NAMED) <= columns):
        return PLAIN, list(map(_plain, rows))
    if codes := next((name for name in _CODE_COLUMNS if name in columns), None):
        return CODES, [Raw(_text(row.get(codes)), "", {}) for row in rows]
    raise UsageError(
        f"{file} has none of the known sets of columns: rater, item, choice (or rater, task, prompt_id, method_a, "
        "method_b, choice); caption, image_0_uid, image_1_uid, label_0, label_1; or completion codes of a platform"
    )


def _plain(row: Mapping[str, Any]) -> Raw:
    facts = {key: _text(row.get(key)) for key in ("item", *_NAMED, "sample", "left") if _text(row.get(key))}
    rater, choice = _text(row.get("rater")), _text(row.get("choice"))
    chance = number(row.get("chance"))
    fault = _MORE if _REST in row else "" if rater else "no rater"
    if _text(row.get("chance")) and not (chance is not None and 0 < chance <= 1):
        fault = fault or "a chance that is no probability above 0"
    return Raw(rater, choice, facts, number(row.get("seconds")), chance, fault)


def _pick(row: Mapping[str, Any]) -> Raw:
    facts = {key: _text(row.get(key)) for key in _PICK if _text(row.get(key))}
    rater = facts.get("user_id") or _text(row.get("ranking_id"))
    labels = number(row.get("label_0")), number(row.get("label_1"))
    choices = {(1.0, 0.0): "first", (0.0, 1.0): "second", (0.5, 0.5): "tie"}
    choice = choices.get((-1.0 if labels[0] is None else labels[0], -1.0 if labels[1] is None else labels[1]), "")
    if _text(row.get("has_label")).lower() in ("false", "0"):
        return Raw(rater, "", facts, fault="no label")
    fault = _MORE if _REST in row else "" if rater else "no user_id"
    return Raw(rater, choice, facts, fault=fault or ("" if choice else "labels that are not 1 and 0, or 0.5 twice"))


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, list) else str(value).strip()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e9 else None
