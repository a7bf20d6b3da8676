"""Part files: rows that are written once, under a name that carries the digest of the file.

`part-<number>-<sha256>.parquet`. The number orders the parts; the digest says whether a file is what was written under
that name. A part also says of what it is (`<run>/<folder>`), so that one of another run or metric is not taken for this
one's. Parts of version 1 have twelve random digits in the place of the digest: they are read as they are.

A damaged part is reported and ignored. When its rows are there again it is set aside as `NAME.damaged`, which nothing
reads; so it is reported once and not by every later call.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, read_bytes, sync_folder, write_error
from bench.store.digests import digest_in_name, sha256_of
from bench.store.locks import held_above
from bench.store.records import PART, SCHEMA_VERSION, check_version

logger = get_logger(__name__)

_VERSION_KEY = b"bench_schema_version"
_OWNER_KEY = b"bench_rows_of"
_FOREIGN = "holds the rows of "
SET_ASIDE = ".damaged"
_last: dict[tuple[Path, str], tuple[tuple[Path, int], int]] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """What was read of a folder's parts: the rows, and what could not be used, as sentences."""

    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    unprotected: int = 0


def write_part(
    folder: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], prefix: str = PART, owner: str = ""
) -> Path:
    """Write rows as a new part file of `folder`, and return its path. Later parts sort behind earlier ones.

    `owner` is what the rows are of: `<run>/<folder in it>`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode(), _OWNER_KEY: owner.encode()},
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), buffer)
    data = buffer.getvalue()
    number = 1 + _last_number(folder, prefix)
    path = folder / f"{prefix}-{number:06d}-{sha256_of(data)}.parquet"
    atomic_write(path, data)
    if (hold := held_above(folder)) is not None:
        _last[folder.absolute(), prefix] = (hold, number)
    return path


def _last_number(folder: Path, prefix: str) -> int:
    """The number of the newest part: remembered while the run is held, so that no large folder is listed each time."""
    hold, number = _last.get((folder.absolute(), prefix), (None, 0))
    if hold is not None and hold == held_above(folder) and folder.is_dir():
        return number
    return max((_part_number(path) for path in part_files(folder, prefix)), default=0)


def read_parts(folder: Path, columns: Iterable[str], prefix: str = PART, owner: str = "") -> Content:
    """The rows of all part files in the order they were written; a part that cannot be used is reported and ignored.

    Columns that version 1 did not have are None in its rows. Raises UsageError when a part was written by a newer
    version.
    """
    found = Content()
    unprotected = 0
    for path in part_files(folder, prefix):
        rows, fault = _read_part(path, list(columns), owner)
        found.rows.extend(rows)
        if fault:
            found.faults.append(f"{path} {fault}")
            what = "move it back there, or delete it" if fault.startswith(_FOREIGN) else "they have to be made again"
            logger.warning(f"{path} {fault}: its rows are ignored; {what}", extra=ONCE)
        elif digest_in_name(path) is None:
            unprotected += 1
    return dataclasses.replace(found, unprotected=unprotected)


def part_files(folder: Path, prefix: str = PART) -> list[Path]:
    """The part files of a folder, oldest first. A folder that is not there has none."""
    try:
        names = os.listdir(folder)  # a folder of images has one of each prompt as well, thousands of them
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (folder / name for name in names if name.startswith(f"{prefix}-") and name.endswith(".parquet"))
    return sorted(path for path in found if path.is_file())


def part_fault(path: Path) -> str | None:
    """Why a part is not what was written under its name, as a clause; None when it is, or if that cannot be told."""
    try:
        data = read_bytes(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return _damage(path, data)


def is_damaged(path: Path) -> bool:
    """Whether a part was read and is not what was written: no part of another run, and none that cannot be opened."""
    try:
        data = read_bytes(path)
    except OSError:
        return False
    if digest_in_name(path) is not None:
        return _damage(path, data) is not None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError):  # of version 1
        return True
    return False


def set_aside(path: Path) -> None:
    """Rename a damaged part whose rows are there again, and say so. Raises UsageError when the system refuses."""
    try:
        os.replace(path, path.with_name(path.name + SET_ASIDE))
    except OSError as error:
        raise write_error(path, error) from None
    sync_folder(path.parent)
    logger.warning(f"{path} was damaged and its rows are there again: it is set aside as {path.name}{SET_ASIDE}")


def _damage(path: Path, data: bytes) -> str | None:
    expected = digest_in_name(path)
    if expected is None or sha256_of(data) == expected:
        return None
    return "is damaged (its content does not have the sha256 in its name)"


def _part_number(path: Path) -> int:
    number = path.name.split("-")[1].split(".")[0]
    return int(number) if number.isdigit() else 0


def _read_part(path: Path, columns: list[str], owner: str) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of a part; or none, and why as a clause."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = read_bytes(path)
    except OSError as error:
        return [], f"cannot be read ({error.strerror})"
    if (damage := _damage(path, data)) is not None:
        return [], damage
    try:
        part = pq.ParquetFile(pa.BufferReader(data))
        facts = part.schema_arrow.metadata or {}
        version = facts.get(_VERSION_KEY, b"1").decode()
        check_version(int(version) if version.isdigit() else version, str(path))
        if (of := facts.get(_OWNER_KEY, b"").decode()) and owner and of != owner:
            return [], f"{_FOREIGN}{of}"
        rows: list[dict[str, Any]] = part.read(columns=columns).to_pylist()
    except UsageError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        return [], f"cannot be read (truncated? {type(error).__name__})"
    if rows and (absent := set(columns) - set(rows[0])):
        if absent - LATER:
            return [], "lacks expected columns"
        rows = [dict.fromkeys(absent) | row for row in rows]
    return rows, None


LATER = frozenset({"image_sha256"})
"""Columns that version 1 did not have."""
