"""Reading and checking prompt files.

Two formats: JSON Lines (`{"id": "...", "text": "...", "tags": [...]}`, tags optional) and plain text (one prompt a
line, whose id is `p0001` for line 1). Ids become folder names, so they are checked to be safe ones.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from prompts.catalogue import public_sets
from prompts.public import Fetch, PublicSetError, rows_of

_SHIPPED = Path(__file__).parent
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEYS = ("id", "text", "tags")
MOST_BYTES, MOST_PROMPT_BYTES = 256 << 20, 64 << 10
"""Of a file, and of a line in it: more is no prompt."""
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})


class PromptError(ValueError):
    """A prompt set or file that cannot be used; the text is one sentence with file and line (exit code 2)."""

    exit_code: ClassVar[int] = 2


class MissingPromptsError(PromptError):
    """A known public prompt set that is not on this machine, or not what it should be (exit code 4)."""

    exit_code: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: an id that is unique in its set and safe as a file name, the text, and free tags."""

    id: str
    text: str
    tags: tuple[str, ...] = ()


def names() -> list[str]:
    """Names of the prompt sets that are shipped, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.jsonl"))


def load(name_or_path: str, fetch: Fetch | None = None) -> list[Prompt]:
    """The prompts of a shipped set, of a public one, or of a file.

    A word without folder and ending is a set's name first and a file second; anything else is a path. `fetch` gets the
    files of a public set from the hub; without it only what was put in place by hand is found.
    Raises PromptError (unknown set, bad file) or MissingPromptsError (a public set that is not here, or was changed).
    """
    path = Path(name_or_path).expanduser()
    if name_or_path in names():
        return read(_SHIPPED / f"{name_or_path}.jsonl")
    if path.exists() or path.suffix or len(path.parts) > 1:
        return read(path)
    public = public_sets().get(name_or_path)
    if public is not None:
        try:
            return [Prompt(*row) for row in rows_of(public, fetch)]
        except PublicSetError as error:
            raise MissingPromptsError(str(error)) from None
    raise PromptError(_unknown_set(name_or_path))


def read(path: str | Path) -> list[Prompt]:
    """The prompts of one file, in its order, at least one. Raises PromptError with file and line number."""
    path = Path(path).expanduser()
    lines = _lines(path)
    first = next((text for _, text in lines), "")
    rows = _from_json(path, lines) if path.suffix.lower() in _JSON_LINES or first[:1] == "{" else _from_text(lines)
    prompts: list[Prompt] = []
    seen: dict[str, tuple[int, str]] = {}
    for number, prompt in rows:
        # Ids that differ in case only would share one folder on the usual file systems of macOS and Windows.
        earlier = seen.setdefault(prompt.id.casefold(), (number, prompt.id))
        if earlier[0] != number:
            same = "is already used" if earlier[1] == prompt.id else f"differs only in case from '{earlier[1]}'"
            raise PromptError(f"{path}: line {number}: prompt id '{prompt.id}' {same} in line {earlier[0]}")
        prompts.append(prompt)
    if not prompts:
        raise PromptError(f"{path}: the prompt file is empty, it needs at least one prompt")
    return prompts


def digest(prompts: Iterable[Prompt]) -> str:
    """sha256 (64 hex digits) over the ids and texts; neither tags nor the order of the prompts change a pixel."""
    sha = hashlib.sha256()
    for row in sorted((prompt.id, prompt.text) for prompt in prompts):
        sha.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return sha.hexdigest()


def _unknown_set(name: str) -> str:
    known = sorted({*names(), *public_sets()})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"unknown prompt set '{name}'.{hint} Known prompt sets: {', '.join(known)}; or give a file."


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1."""
    if path.is_dir():
        raise PromptError(f"{path} is a folder, not a prompt file")
    if path.exists() and not path.is_file():
        raise PromptError(f"{path} is not a regular file: write the prompts to a file first")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PromptError(f"prompt file {path} has more than {MOST_BYTES >> 20} MiB: split it")
        data = path.read_bytes()
    except FileNotFoundError:
        raise PromptError(f"prompt file {path} does not exist") from None
    except OSError as error:
        raise PromptError(f"prompt file {path} cannot be read: {error.strerror}") from None
    lines = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise PromptError(f"{path}: line {number}: not valid UTF-8 text") from None
        if len(text.encode("utf-8", "surrogatepass")) > MOST_PROMPT_BYTES:
            raise PromptError(f"{path}: line {number}: it has more than {MOST_PROMPT_BYTES:,} bytes")
        if text:
            lines.append((number, text))
    return lines


def _from_text(lines: list[tuple[int, str]]) -> Iterator[tuple[int, Prompt]]:
    for number, text in lines:
        yield number, Prompt(id=f"p{number:04d}", text=text)


def _from_json(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[int, Prompt]]:
    for number, line in lines:
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise PromptError(f"{where}: not valid JSON ({error.msg}, column {error.colno})") from None
        except RecursionError:
            raise PromptError(f"{where}: its values are nested too deeply") from None
        except ValueError as error:  # a number of thousands of digits
            raise PromptError(f"{where}: not valid JSON ({str(error).split(';')[0]})") from None
        if not isinstance(row, dict):
            raise PromptError(f'{where}: expected one JSON object a line, {{"id": "...", "text": "..."}}')
        yield number, _prompt(where, row)


def _prompt(where: str, row: dict[str, Any]) -> Prompt:
    for key in row:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise PromptError(f"{where}: unknown key '{key}'.{hint} Known keys: id, text, tags.")
    for key in ("id", "text"):
        if key not in row:
            raise PromptError(f"{where}: the prompt has no '{key}'")
        if not isinstance(row[key], str):
            raise PromptError(f"{where}: '{key}' must be a string, got {json.dumps(row[key])[:60]}")
    for key in ("id", "text"):
        if any("\ud800" <= char <= "\udfff" for char in row[key]):
            raise PromptError(f"{where}: '{key}' holds half of a character (a lone surrogate): repair the file")
    if not row["text"].strip():
        raise PromptError(f"{where}: the text of prompt '{row['id']}' is empty")
    if not _SAFE_ID.fullmatch(row["id"]) or ".." in row["id"]:
        raise PromptError(
            f"{where}: prompt id {json.dumps(row['id'])[:120]} is not safe as a file name: "
            "use 1 to 100 of A-Z a-z 0-9 . _ -, starting with a letter or digit, without '..'"
        )
    tags = row.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise PromptError(f"{where}: 'tags' must be a list of strings")
    return Prompt(id=row["id"], text=row["text"].strip(), tags=tuple(tags))
