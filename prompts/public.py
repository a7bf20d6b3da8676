"""Public prompt sets on this machine: put in place by hand, or fetched; compared with what is known about them.

A set's files lie in `<prompt folder>/<set>/`, where the prompt folder is $BENCH_PROMPTS or else
`~/.cache/imagerefl-bench/prompts`. Files of a set of the hub that are not there are asked of `fetch`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from prompts.catalogue import PublicSet

Fetch = Callable[[str, str, str], Path]
"""(dataset id, revision or "", file) -> the local path of that file; raises an error with one sentence."""

Row = tuple[str, tuple[str, ...]]
"""The text of a prompt, and its tags."""


class PublicSetError(ValueError):
    """A public set that is not on this machine, or is not what it should be (exit code 4); one sentence."""

    exit_code: ClassVar[int] = 4


def prompt_folder() -> Path:
    """Where the files of public sets are put by hand."""
    return Path(os.environ.get("BENCH_PROMPTS") or "~/.cache/imagerefl-bench/prompts").expanduser()


def rows_of(entry: PublicSet, fetch: Fetch | None = None) -> list[tuple[str, str, tuple[str, ...]]]:
    """(id, text, tags) of every prompt of the set, in the order of its files.

    Ids count from 1: "geneval-0001", or for a set of several files "photo-0001". Raises PublicSetError when a file is
    absent, differs from its sha256, cannot be read, or the number of prompts is not that of the set.
    """
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    several = len(entry.files) > 1
    for name, path in _paths(entry, fetch).items():
        _check_digest(entry, name, path)
        prefix = Path(name).stem if several else entry.name
        for number, (text, tags) in enumerate(_read(entry, path), start=1):
            rows.append((f"{prefix}-{number:04d}", text, (prefix, *tags) if several else tags))
    if len(rows) != entry.count:
        raise PublicSetError(
            f"the public prompt set '{entry.name}' has {entry.count} prompts, but {len(rows)} were found in "
            f"{', '.join(map(str, _paths(entry, fetch).values()))}: its source has changed, or another set was put "
            "there; to use it as it is, pass the file with --prompts FILE"
        )
    return rows


def files_of(entry: PublicSet, fetch: Fetch | None = None) -> list[Path]:
    """The files of the set on this machine, in its order. Raises PublicSetError as `rows_of` does."""
    rows_of(entry, fetch)
    return list(_paths(entry, fetch).values())


def _paths(entry: PublicSet, fetch: Fetch | None) -> dict[str, Path]:
    """The local path of each file of the set."""
    folder = prompt_folder() / entry.name
    by_hand = {name: folder / Path(name).name for name in entry.files}
    if all(path.is_file() for path in by_hand.values()):
        return by_hand
    if entry.hub and fetch is not None:
        return {name: fetch(entry.hub, entry.revision, name) for name in entry.files}
    raise PublicSetError(_how_to_get(entry, by_hand))


def _how_to_get(entry: PublicSet, by_hand: Mapping[str, Path]) -> str:
    start = f"the public prompt set '{entry.name}' ({entry.count} prompts) is not on this machine: "
    end = ", or pass a file of your own with --prompts FILE"
    if entry.git:
        base = f"https://raw.githubusercontent.com/{entry.git}/{entry.revision}"
        commands = [f"`curl -L --create-dirs -o {path} {base}/{name}`" for name, path in by_hand.items()]
        return f"{start}run {' and '.join(commands)}{end}"
    paths = " and ".join(str(path) for path in by_hand.values())
    where = f"from {entry.source}" if entry.hub else f"from its authors, one prompt a line ({entry.title})"
    return f"{start}get it {where} and put it at {paths}{end}"


def _check_digest(entry: PublicSet, name: str, path: Path) -> None:
    wanted = entry.files[name]
    if not wanted:
        return
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wanted:
        raise PublicSetError(
            f"{path} is not the file {name} of the public prompt set '{entry.name}': its sha256 is {found}, "
            f"not {wanted}; get revision {entry.revision} from {entry.source}, or pass your own with --prompts FILE"
        )


def _read(entry: PublicSet, path: Path) -> list[Row]:
    """The prompts of one file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(READERS[entry.format](entry, text))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"no '{entry.key}'" if isinstance(error, KeyError) else (str(error).splitlines() or [""])[0][:120]
        raise PublicSetError(
            f"{path} cannot be read as {entry.format} of the public prompt set '{entry.name}' ({reason}): its source "
            "has changed; pass a file of your own with --prompts FILE"
        ) from None
    found = [(" ".join(prompt.split()), tags) for prompt, tags in rows if prompt.strip()]
    if not entry.unique:
        return found
    first: dict[str, Row] = {}
    for row in found:
        first.setdefault(row[0], row)
    return list(first.values())


def _lines(entry: PublicSet, text: str) -> Iterator[Row]:
    yield from ((line, ()) for line in text.splitlines())


def _json(entry: PublicSet, text: str) -> Iterator[Row]:
    content = json.loads(text)
    if not isinstance(content, list):
        raise ValueError("expected a list")
    yield from (_row(entry, item) for item in content)


def _jsonl(entry: PublicSet, text: str) -> Iterator[Row]:
    yield from (_row(entry, json.loads(line)) for line in text.splitlines() if line.strip())


def _tsv(entry: PublicSet, text: str) -> Iterator[Row]:
    reader = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    yield from (_row(entry, item) for item in reader)


def _csv(entry: PublicSet, text: str) -> Iterator[Row]:
    yield from (_row(entry, item) for item in csv.DictReader(io.StringIO(text, newline="")))


def _row(entry: PublicSet, item: Any) -> Row:
    text = item if isinstance(item, str) else item[entry.key]
    if not isinstance(text, str):
        raise ValueError(f"a prompt is not a string: {text!r}"[:80])
    found = () if isinstance(item, str) else (item.get(tag) for tag in entry.tags)
    several = (value if isinstance(value, list) else [value] for value in found if value)
    return text, tuple(dict.fromkeys(str(one) for values in several for one in values))


READERS: dict[str, Callable[[PublicSet, str], Iterator[Row]]] = {
    "lines": _lines,
    "json": _json,
    "jsonl": _jsonl,
    "tsv": _tsv,
    "csv": _csv,
}
