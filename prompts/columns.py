"""From rows of a file to prompts: which column holds the texts, which the ids and the tags, and what is left out."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.forms import COLUMNS, Row, listed
from prompts.limits import MOST_PROMPT_BYTES, PromptError

logger = logging.getLogger(__name__)

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEYS = ("id", "text", "tags")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: an id that is unique in its set and safe as a file name, the text, and free tags."""

    id: str
    text: str
    tags: tuple[str, ...] = ()


def prompts_of(path: Path, rows: Sequence[Row], column: str | None) -> Iterator[Prompt]:
    """The prompt of each row. Raises PromptError with the place of the row."""
    texts = [row for row in rows if isinstance(row.content, str)]
    if column is not None and texts:
        raise PromptError(f"{path} has no columns, so that --prompt-column {column} names nothing: omit it")
    if texts and len(texts) < len(rows):
        mixed = next(row for row in rows if not isinstance(row.content, str))
        raise PromptError(f"{mixed.where}: an object among strings: write all prompts in one form")
    if texts:
        for row in texts:
            if not str(row.content).strip():
                raise PromptError(f"{row.where}: the text is empty")
            yield Prompt(_number_id(row), _whole(row.where, "text", str(row.content)))
        return
    tables = [(row, dict(row.content)) for row in rows if isinstance(row.content, dict)]
    key = _column(path, tables, column)
    native = column is None and key == "text" and "id" in tables[0][1] and not tables[0][0].cells
    with_ids = any("id" in table for _, table in tables)
    _tell_unused(path, tables, key, native)
    for row, table in tables:
        if native:
            _check_keys(row.where, table)
        yield _prompt(row, table, key, with_ids)


def _column(path: Path, tables: Sequence[tuple[Row, dict[str, Any]]], column: str | None) -> str:
    """The column of the prompts. Raises PromptError where there is none, or more than one."""
    row, first = tables[0]
    names = list(dict.fromkeys(name for _, table in tables for name in table))
    if column is not None:
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise PromptError(f"{path} has no column '{column}'.{hint} Its columns: {listed(names)}.")
        return column
    known = [name for name in first if name.strip().casefold() in COLUMNS]
    if len(known) > 1:
        raise PromptError(f"{path}: {listed(known)} may each hold the prompts: name one with --prompt-column")
    if known:
        return known[0]
    if set(first) <= {"id", "tags"}:
        raise PromptError(f"{row.where}: the prompt has no 'text'")
    hint = next((name for name in first if difflib.get_close_matches(name.casefold(), COLUMNS, n=1)), names[0])
    raise PromptError(
        f"{path}: no column is called prompt, caption or text. Its columns: {listed(names)}. Name the one that holds "
        f"the prompts, for example --prompt-column '{hint[:40]}'; a file of prompts without a header is called .txt."
    )


def _check_keys(where: str, table: dict[str, Any]) -> None:
    """In this project's own form every key has a meaning: another one is a slip."""
    for key in table:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise PromptError(f"{where}: unknown key '{key}'.{hint} Known keys: id, text, tags.")


def _tell_unused(path: Path, tables: Sequence[tuple[Row, dict[str, Any]]], key: str, native: bool) -> None:
    names = list(dict.fromkeys(name for _, table in tables for name in table))
    unused = [name for name in names if name not in (key, "id", "tags")]
    if not native and unused:
        ids = "ids from 'id'" if "id" in names else f"ids from {_number_id(tables[0][0])} on"
        logger.info(f"{path}: prompts from column '{key}', {ids}; not used: {listed(unused)}")


def _number_id(row: Row) -> str:
    return f"p{row.number:04d}"


def _prompt(row: Row, table: dict[str, Any], key: str, with_ids: bool) -> Prompt:
    where = row.where
    if with_ids and "id" not in table:
        raise PromptError(f"{where}: the prompt has no 'id'")
    if key not in table:
        raise PromptError(f"{where}: the prompt has no '{key}'")
    found = {"id": _number_id(row) if not with_ids else table["id"], key: table[key]}
    if (row.cells or key != "text") and isinstance(found["id"], int) and not isinstance(found["id"], bool):
        found["id"] = str(found["id"])  # numbers, as in a parquet file's column and in public sets
    for name, value in found.items():
        if not isinstance(value, str):
            raise PromptError(f"{where}: '{name}' must be a string, got {_shown(value)}")
        _whole(where, name, value)
    text, identifier = found[key], found["id"]
    if not text.strip():
        raise PromptError(f"{where}: the text of prompt '{identifier}' is empty")
    if not _SAFE_ID.fullmatch(identifier) or ".." in identifier:
        raise PromptError(
            f"{where}: prompt id {json.dumps(identifier)[:120]} is not safe as a file name: "
            "use 1 to 100 of A-Z a-z 0-9 . _ -, starting with a letter or digit, without '..'"
        )
    return Prompt(identifier, text.strip(), _tags(row, table.get("tags", [])))


def _tags(row: Row, tags: Any) -> tuple[str, ...]:
    """A list of strings; in a table they may be one cell, with semicolons between them."""
    if row.cells and (tags is None or isinstance(tags, str)):
        tags = [tag.strip() for tag in (tags or "").split(";") if tag.strip()]
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise PromptError(f"{row.where}: 'tags' must be a list of strings")
    return tuple(_whole(row.where, "tags", tag) for tag in tags)


def _whole(where: str, name: str, text: str) -> str:
    """The text; PromptError where it is no prompt's, or holds half of a surrogate pair or a NUL."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_PROMPT_BYTES:
        raise PromptError(f"{where}: '{name}' has more than {MOST_PROMPT_BYTES:,} bytes")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise PromptError(f"{where}: '{name}' contains half of a surrogate pair, which is no character: remove it")
    if "\0" in text:
        raise PromptError(f"{where}: '{name}' contains a NUL character, which no text does: remove it")
    return text


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)[:60]
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__
