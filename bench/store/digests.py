"""Digests that lie outside of the files they are of.

A file that is written once carries its sha256 in its own name (`part-000001-<sha256>.parquet`): it is put in place
whole, with its digest, by one renaming. A file that is replaced (`manifest.json`) has a neighbour
`manifest.json.sha256` with the digests of the content that is about to be put in place and of the one before it. The
neighbour is written first, so that a kill between the two leaves the old file under a digest that is still listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, opened, parse_json, read_bytes
from bench.store.records import SCHEMA_VERSION, check_version

logger = get_logger(__name__)

ENDING = ".sha256"
SEAL = "sha256"
"""The key of a table that holds the digest of all others."""
_NAMED = re.compile(r".*-(?P<digest>[0-9a-f]{64})\.[a-z]+", re.DOTALL)
_DIGEST = re.compile(r"[0-9a-f]{64}")

State = Literal["protected", "unprotected", "damaged"]


def sha256_of(data: bytes) -> str:
    """sha256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_in_name(path: Path) -> str | None:
    """The digest that a file's name carries; None for a name without one (files of version 1)."""
    named = _NAMED.fullmatch(path.name)
    return named["digest"] if named else None


def beside(path: Path) -> Path:
    """The file with the digests of one that is replaced."""
    return path.with_name(path.name + ENDING)


def write_protected(path: Path, data: bytes | str) -> None:
    """Replace a file and its digest: whoever reads at any moment finds content that a listed digest is of.

    Raises UsageError when the system refuses; the old content is intact and believed then.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    announce(path, sha256_of(content))
    atomic_write(path, content)


def announce(path: Path, digest: str) -> None:
    """List the digest of what is about to be put in place, before that of what is there."""
    known = listed(path)
    before = known or _current(path)
    if known[:1] != [digest]:
        atomic_write(beside(path), "".join(f"{one}  {path.name}\n" for one in [digest, *before[:1]]))


def state_of(path: Path, data: bytes) -> State:
    """Whether the content of a file is one that was written: "unprotected" where no digest lies beside it."""
    return state_of_digest(path, sha256_of(data))


def state_of_digest(path: Path, digest: str) -> State:
    """As `state_of`, of content that has this digest."""
    known = listed(path)
    if not known:
        return "damaged" if beside(path).exists() else "unprotected"
    return "protected" if digest in known else "damaged"


def read_protected(path: Path) -> dict[str, Any] | None:
    """The table in a file that is replaced, compared with the digest beside it; None where there is no file.

    Raises UsageError for one that is damaged. What cannot be verified is said.
    """
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    state = state_of(path, data)
    if state == "damaged" and (again := _once_more(path)) is not None:
        data, state = again, "protected"
    if state == "damaged":
        _refuse_newer(path, data)
        raise UsageError(
            f"{path} is damaged or was edited (its sha256 is not the one in {path.name}{ENDING}): restore both from a "
            "copy, or delete both and run the same command again, which makes them anew"
        )
    found = parse_json(data, path)
    if state == "unprotected":
        if found.get("schema_version", 1) == 1 and not _has_digests_in_names(path.parent):
            tell_unprotected(path.parent)
        else:
            logger.warning(
                f"{path} cannot be verified: {path.name}{ENDING} is missing; restore it from a copy, or delete "
                f"{path.name} and run the same command again, which makes both anew",
                extra=ONCE,
            )
    return found


def _has_digests_in_names(folder: Path) -> bool:
    """Whether this version or a newer one wrote the rows beside a card, and so the card, which has no version."""
    return any(digest_in_name(path) for path in folder.glob("*.parquet"))


def _refuse_newer(path: Path, data: bytes) -> None:
    """What a newer version wrote is not called damaged, whatever it puts beside it."""
    try:
        version = parse_json(data, path).get("schema_version")
    except UsageError:
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        check_version(version, str(path))


def tell_unprotected(folder: Path) -> None:
    """Say that version 1 wrote what lies in a folder."""
    run = next((one for one in (folder, *folder.parents) if "@" in one.name), folder)
    logger.warning(
        f"{run} was written by an earlier version, without digests: what it holds is read as it is, and damage to it "
        "cannot be noticed",
        extra=ONCE,
    )


def _once_more(path: Path) -> bytes | None:
    """A reader takes no lock: between its looks at a file and at its digests, both may have been replaced."""
    with contextlib.suppress(OSError):
        data = read_bytes(path)
        return data if state_of(path, data) == "protected" else None
    return None


def _current(path: Path) -> list[str]:
    """The digest of what is there, for a file that version 1 wrote without one."""
    try:
        return [sha256_of(read_bytes(path))]
    except OSError:
        return []


def listed(path: Path) -> list[str]:
    """The digests beside a file, the newest first; none where there is no such file or it is damaged."""
    try:
        with opened(beside(path)) as file:
            text = file.read(1 << 12).decode("ascii")
    except (OSError, ValueError):
        return []
    digests = [line.partition(" ")[0] for line in text.splitlines()]
    return digests if digests and all(map(_DIGEST.fullmatch, digests)) else []


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the digest of what is in it, for files that people move about alone (baselines, caches)."""
    plain = {key: value for key, value in data.items() if key != SEAL}
    return {**plain, SEAL: _digest_of(plain)}


def seal_holds(data: Mapping[str, Any]) -> bool | None:
    """Whether a table is what it was when it was sealed; None for one that never was."""
    if SEAL not in data:
        return None
    return bool(data[SEAL] == _digest_of({key: value for key, value in data.items() if key != SEAL}))


def _digest_of(plain: Mapping[str, Any]) -> str:
    return sha256_of(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())
