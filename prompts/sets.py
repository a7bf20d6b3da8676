"""Reading and checking prompt files.

This project's form is JSON Lines (`{"id": "...", "text": "...", "tags": [...]}`, tags optional); plain text (one prompt
a line, whose id is `p0001` for line 1), JSON lists, CSV, TSV and parquet are read too (`prompts.forms`). Ids become
folder names, so they are checked to be safe ones.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from prompts.catalogue import public_sets
from prompts.columns import Prompt as Prompt
from prompts.columns import prompts_of
from prompts.forms import rows_of
from prompts.limits import PromptError as PromptError
from prompts.public import Fetch, PublicSetError
from prompts.public import rows_of as public_rows_of

_SHIPPED = Path(__file__).parent


class MissingPromptsError(PromptError):
    """A known public prompt set that is not on this machine, or not what it should be (exit code 4)."""

    exit_code: ClassVar[int] = 4


def names() -> list[str]:
    """Names of the prompt sets that are shipped, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.jsonl"))


def load(name_or_path: str, fetch: Fetch | None = None, column: str | None = None) -> list[Prompt]:
    """The prompts of a shipped set, of a public one, or of a file.

    A word without folder and ending is a set's name first and a file second; anything else is a path. `fetch` gets the
    files of a public set from the hub; without it only what was put in place by hand is found. `column` names the
    column of a file that holds the prompts (see `read`); sets have none to name.
    Raises PromptError (unknown set, bad file) or MissingPromptsError (a public set that is not here, or was changed).
    """
    path = Path(name_or_path).expanduser()
    if name_or_path in names():
        _no_column(name_or_path, column)
        return read(_SHIPPED / f"{name_or_path}.jsonl")
    if path.exists() or path.suffix or len(path.parts) > 1:
        return read(path, column)
    public = public_sets().get(name_or_path)
    if public is not None:
        _no_column(name_or_path, column)
        try:
            return [Prompt(*row) for row in public_rows_of(public, fetch)]
        except PublicSetError as error:
            raise MissingPromptsError(str(error)) from None
    raise PromptError(_unknown_set(name_or_path))


def _no_column(name: str, column: str | None) -> None:
    if column is not None:
        raise PromptError(f"--prompt-column {column} applies to prompt files, but '{name}' is a prompt set: omit it")


def read(path: str | Path, column: str | None = None) -> list[Prompt]:
    """The prompts of one file, in its order, at least one. Raises PromptError with file and line number.

    `column` names the column or key that holds the prompts; without it that is found (prompt, Prompts, caption, text
    and the like). A prompt without an id is called after its line, its item or its row: "p0001".

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "set.csv"
    >>> _ = file.write_text('Prompt,Category\n"a red circle, large",colour\n')
    >>> read(file)
    [Prompt(id='p0001', text='a red circle, large', tags=())]
    """
    path = Path(path).expanduser()
    rows = list(rows_of(path))
    if not rows:
        raise PromptError(f"{path}: the prompt file is empty, it needs at least one prompt")
    prompts: list[Prompt] = []
    seen: dict[str, tuple[str, str]] = {}
    for row, prompt in zip(rows, prompts_of(path, rows, column), strict=True):
        # Ids that differ in case only would share one folder on the usual file systems of macOS and Windows.
        place = row.where.removeprefix(f"{path}: ")
        earlier = seen.setdefault(prompt.id.casefold(), (place, prompt.id))
        if earlier[0] != place:
            same = "is already used" if earlier[1] == prompt.id else f"differs only in case from '{earlier[1]}'"
            raise PromptError(f"{row.where}: prompt id '{prompt.id}' {same} in {earlier[0]}")
        prompts.append(prompt)
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
