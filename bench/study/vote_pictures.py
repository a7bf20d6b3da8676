"""The files of the pictures that votes name: found, hashed, and put into the units that metrics score.

A vote is on two pictures, or on two sets of pictures (several names a side, or a folder each). A table is of one kind.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import MissingError, UsageError
from bench.formatting import counted
from bench.store.atomic import atomic_write, make_folder, read_bytes
from bench.study.vote_tables import PICK_A_PIC, TableVote, VoteTable

logger = logging.getLogger(__name__)

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
ABSENT = "a picture that is not there"
_EMBEDDED = ("jpg_0", "jpg_1")
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Side:
    """What stands on one side of a vote: its pictures' files, in order."""

    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.files[0].name if len(self.files) == 1 else f"{self.files[0].parent.name}/ ({len(self.files)})"


@dataclass(slots=True)
class Pictured:
    """Votes with their files. `votes` [N] and `sides` [N] go together; `digests` are of all files."""

    votes: list[TableVote] = field(default_factory=list)
    sides: list[tuple[Side, Side]] = field(default_factory=list)
    digests: dict[Path, str] = field(default_factory=dict)
    sets: bool = False
    absent: list[str] = field(default_factory=list)  # names of pictures that are not there
    left_out: Counter[str] = field(default_factory=Counter)


def pictured(table: VoteTable, file: Path, images: Path | None, cache: Path) -> Pictured:
    """The votes whose pictures are all there, below `images` (default: the folder of the file).

    Pick-a-Pic's parquet files hold their pictures: without `images` they are written to `cache`. MissingError: none is
    there. UsageError: votes on pictures and on sets in one table.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images} is no folder")
    if images is None and table.form == PICK_A_PIC and file.suffix == ".parquet":
        images = _unpacked(file, cache)
    folder = images or file.parent
    found, known = Pictured(left_out=Counter(table.left_out)), _Known(folder)
    for vote in table.votes:
        sides = [known.side(names) for names in (vote.a, vote.b)]
        if any(side is None for side in sides):
            found.left_out[ABSENT] += 1
            continue
        found.votes.append(vote)
        found.sides.append((sides[0], sides[1]))  # type: ignore[arg-type]
    found.absent = sorted(known.absent)
    if not found.votes:
        raise MissingError(
            f"none of the {counted(len(known.absent), 'picture')} that {file.name} names is in {folder} (first: "
            f"{found.absent[0]}): give their folder with --images"
        )
    several = [len(side.files) > 1 for pair in found.sides for side in pair]
    found.sets = any(several)
    if found.sets and not all(several):
        raise UsageError(
            f"{file} has votes on single pictures and on sets of pictures: give them as two files, as metrics of sets "
            "need at least two pictures on each side"
        )
    for path in {path: None for pair in found.sides for side in pair for path in side.files}:
        found.digests[path] = hashlib.sha256(read_bytes(path)).hexdigest()
    return found


class _Known:
    """Names -> files, each looked up once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sides: dict[tuple[str, ...], Side | None] = {}
        self.absent: set[str] = set()

    def side(self, names: tuple[str, ...]) -> Side | None:
        """The files of a side; None where one is not there."""
        if names not in self.sides:
            files = [path for name in names for path in self._files(name)]
            complete = not self.absent.intersection(names)
            self.sides[names] = Side(tuple(files)) if complete else None
        return self.sides[names]

    def _files(self, name: str) -> Sequence[Path]:
        path = self.folder / name
        if path.is_file():
            return [path]
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if item.suffix.lower() in ENDINGS and item.is_file())
            if inside:
                return inside
        for ending in ENDINGS:
            if (beside := path.with_name(f"{path.name}{ending}")).is_file():
                return [beside]
        self.absent.add(name)
        return []


def _unpacked(file: Path, cache: Path) -> Path | None:
    """The folder that the pictures inside of a parquet file were written to; None where it has none."""
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    if not set(_EMBEDDED) <= set(opened.schema_arrow.names):
        return None
    stat = file.stat()
    mark = f"{file.absolute()}:{stat.st_size}:{stat.st_mtime_ns}"
    folder = cache / hashlib.sha256(mark.encode()).hexdigest()[:16]
    if (folder / "complete").is_file():
        return folder
    make_folder(folder)
    logger.info(f"the pictures inside of {file} are written to {folder}")
    for uid, data in _inside(opened):
        path = folder / f"{uid}.jpg"
        if not path.is_file():
            atomic_write(path, data, sync=False)
    atomic_write(folder / "complete", "")
    return folder


def _inside(opened: Any) -> Iterator[tuple[str, bytes]]:
    columns = [*_EMBEDDED, "image_0_uid", "image_1_uid"]
    for batch in opened.iter_batches(batch_size=_BATCH, columns=columns):
        for row in batch.to_pylist():
            for which in ("0", "1"):
                uid, data = str(row[f"image_{which}_uid"]), row[f"jpg_{which}"]
                if (
                    isinstance(data, bytes)
                    and data
                    and "/" not in uid
                    and "\\" not in uid
                    and uid not in ("", ".", "..")
                ):
                    yield uid, data
