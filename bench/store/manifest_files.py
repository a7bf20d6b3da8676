"""The files that a run's manifest is kept in: what it is, its prompts, and its counts while it is worked on.

`manifest.json` names the file of its prompts, `prompts-<sha256>.jsonl`, which is written once however often the
manifest is. While pictures are made only counts and timings change: they go to `counts.json`, which names the manifest
that it belongs to by its digest. A newer manifest has them itself, so that an older `counts.json` is void.

Where a manifest is damaged and deleted, the command that made it makes it again, but for what only the past knows: how
the images were cut into batches, where they were made, and what that took. `made.json` keeps a second copy of that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, parse_json, read_bytes, to_json
from bench.store.digests import read_protected, seal_holds, sealed, sha256_of, write_protected
from bench.store.manifest_schema import validated
from bench.store.records import Manifest, migrate_manifest

logger = get_logger(__name__)

NAME = "manifest.json"
COUNTS = "counts.json"
MADE = "made.json"
_CHANGING = ("counts", "timings")
_MADE = ("batches", "provenance", *_CHANGING)
_read: dict[tuple[Path, str], list[dict[str, Any]]] = {}
_MOST_READ = 16  # files of prompts whose content is kept


def read_manifest(folder: Path, name: str) -> Manifest:
    """The manifest of the run `name` in a folder. Raises UsageError: none, damaged, not of this run, or newer."""
    path = folder / NAME
    data = read_protected(path)
    if data is None:
        raise UsageError(f"{folder} is not a run: it has no {NAME}")
    current = migrate_manifest(data, str(path))
    listed = current.get("prompts")
    if isinstance(listed, dict):
        current["prompts"] = _prompts(folder, listed)
    manifest = validated(current, path, folder, name)
    _amend(manifest, folder / COUNTS, sha256_of(read_bytes(path)))
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest: its prompts first, where they are others."""
    data = manifest.to_dict()
    content = "".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in manifest.prompts).encode()
    digest = sha256_of(content)
    file, made = folder / f"prompts-{digest}.jsonl", folder / MADE
    data["prompts"] = {"file": file.name, "count": len(manifest.prompts)}

    def write_what_it_needs() -> None:
        if _content_of(file) != content:
            atomic_write(file, content)
        if manifest.batches:
            _write_made(made, manifest)

    write_what_it_needs()
    write_protected(folder / NAME, to_json(data))
    if not file.is_file() or (manifest.batches and not made.is_file()):  # the folder was removed in between
        write_what_it_needs()
    for other in [*folder.glob("prompts-*.jsonl"), folder / COUNTS]:
        if other != file:
            other.unlink(missing_ok=True)


def restore_made(folder: Path, manifest: Manifest) -> bool:
    """Put into a manifest that is made anew what the lost one knew of how the images were made; False if that is lost.

    The caller knows that there are images.
    """
    data = _sealed_content(folder / MADE) or {}
    if data.get("run") != manifest.run or not all(isinstance(data.get(key), dict) for key in _MADE):
        return False
    for key in _MADE:
        setattr(manifest, key, {**getattr(manifest, key), **data[key]})
    return True


def _write_made(path: Path, manifest: Manifest) -> None:
    facts = {"run": manifest.run, **{key: getattr(manifest, key) for key in _MADE}}
    content = to_json(sealed(json.loads(to_json(facts))))
    if _content_of(path) != content.encode():
        atomic_write(path, content)


def _sealed_content(path: Path) -> dict[str, Any] | None:
    """A table that carries its digest; empty where it is damaged, None where there is none."""
    try:
        data = parse_json(read_bytes(path), path)
    except FileNotFoundError:
        return None
    except (OSError, UsageError):
        return {}
    return data if seal_holds(data) else {}


def write_counts(folder: Path, manifest: Manifest) -> None:
    """Write the counts and timings of a manifest that is otherwise on the disk already."""
    try:
        of = sha256_of(read_bytes(folder / NAME))
    except OSError:
        raise UsageError(f"{folder} was removed while it was worked on: run the same command again") from None
    facts = {"run": manifest.run, "of": of, **{key: getattr(manifest, key) for key in _CHANGING}}
    atomic_write(folder / COUNTS, to_json(sealed(json.loads(to_json(facts)))))


def _amend(manifest: Manifest, path: Path, digest: str) -> None:
    """Put in counts and timings that are newer than the manifest."""
    data = _sealed_content(path)
    if data is None:
        return
    if not all(isinstance(data.get(key), dict) for key in _CHANGING):
        logger.warning(f"{path} is damaged: counts and timings are those of the last manifest", extra=ONCE)
        return
    if data.get("of") == digest:
        manifest.counts, manifest.timings = data["counts"], data["timings"]


def _prompts(folder: Path, listed: dict[str, Any]) -> list[dict[str, Any]]:
    """The prompts in the file that a manifest names by its digest."""
    name = listed.get("file")
    path = folder / str(name)
    parts = str(name).removesuffix(".jsonl").partition("prompts-")
    if path.name != name or parts[0] or len(parts[2]) != 64 or set(listed) != {"file", "count"}:
        raise UsageError(f"{folder / NAME} is damaged: its prompts must be {{file, count}}, got {str(listed)[:60]}")
    key = path.absolute(), parts[2]
    content = _content_of(path)
    if content is None or sha256_of(content) != parts[2]:
        _read.pop(key, None)
        why = "is missing" if content is None else "is damaged (its content does not have the sha256 in its name)"
        raise UsageError(
            f"{path} {why}: restore it from a copy, or delete {folder / NAME} and run the same command again, which "
            "keeps the images"
        )
    if key not in _read:
        try:
            rows = [json.loads(line) for line in content.splitlines()]
        except (ValueError, RecursionError):
            raise UsageError(f"{path} is not a file of prompts: delete {folder / NAME} and run again") from None
        while len(_read) >= _MOST_READ:
            _read.pop(next(iter(_read)))
        _read[key] = rows
    return list(_read[key])


def _content_of(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError:
        return None
