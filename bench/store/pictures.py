"""Whether the pictures of a run are still those that were recorded.

A picture's content is read when its size, times of change or inode are not those at which it was last found whole; what
was found is remembered in `<results>/cache/digests`. Inside `verifying` all of them are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import MISSING, image_fault
from bench.store.records import ImageRow
from bench.store.ties import tie_of_digests
from metrics.weights.digest_cache import DigestCache

logger = get_logger(__name__)

_verify: ContextVar[bool] = ContextVar("verify", default=False)
_NAMED = 3


@contextlib.contextmanager
def verifying(everything: bool = True) -> Iterator[None]:
    """While this lasts, every picture that is looked at is read (`--verify`)."""
    token = _verify.set(everything or _verify.get())
    try:
        yield
    finally:
        _verify.reset(token)


def picture_faults(run: Path, rows: Sequence[ImageRow]) -> dict[tuple[str, int], str]:
    """Of the recorded pictures in a run's folder those that cannot be used, and why, as a clause; "missing" is one."""
    digests = DigestCache(cache_of(run), trust=not _verify.get()).digests(run, [row.path for row in rows])
    found: dict[tuple[str, int], str] = {}
    for row in rows:
        digest = digests[row.path]
        if digest == row.sha256 or not row.sha256:  # without a recorded digest there is nothing to compare with
            continue
        if isinstance(digest, FileNotFoundError | NotADirectoryError):
            found[row.key] = MISSING
        elif (fault := image_fault(run / row.path, row.sha256)) is not None:
            found[row.key] = fault
    return found


def pictures_tie(run: Path, keys: Sequence[tuple[str, int]]) -> str | None:
    """The tie of pictures by their places alone (`bench.store.ties`); None where one of them cannot be read."""
    names = {key: f"images/{key[0]}/{key[1]}.png" for key in keys}
    digests = DigestCache(cache_of(run), trust=not _verify.get()).digests(run, names.values())
    found = {key: digests[name] for key, name in names.items()}
    whole = {key: digest for key, digest in found.items() if isinstance(digest, str)}
    return tie_of_digests(whole) if len(whole) == len(keys) else None


def cache_of(run: Path) -> Path | None:
    """Where digests of a run's pictures are remembered; None for a run folder that lies in no results folder."""
    parents = run.absolute().parents
    return parents[2] / "cache" / "digests" if len(parents) > 2 and parents[1].name == "runs" else None


def sharing(run: Path, row: ImageRow) -> list[str]:
    """Names of the other runs of the suite that have the very same file (hard links), of which damage is theirs too."""
    try:
        mine = (run / row.path).stat()
    except OSError:
        return []
    if mine.st_nlink < 2:
        return []
    names = []
    for other in sorted(run.parent.glob(f"[!.]*@*/{row.path}")):
        with contextlib.suppress(OSError):
            if other != run / row.path and other.stat().st_ino == mine.st_ino:
                names.append(other.relative_to(run.parent).parts[0])
    return names


def broken_pictures(run: Path, name: str, rows: Sequence[ImageRow]) -> frozenset[tuple[str, int]]:
    """The pictures that are no longer what was recorded; they are named, and so is what cannot be verified."""
    faults = picture_faults(run, rows)
    gone = [key for key, why in faults.items() if why == MISSING]
    others = {key: why for key, why in faults.items() if why != MISSING}
    if gone:
        logger.warning(f"{name}: not verified: {len(gone)} of {len(rows)} images are not here", extra=ONCE)
    if others:
        logger.warning(
            f"{name}: {_told(run, rows, others)}: not the images that were scored, so that their values, and those of "
            "groups and sets with them, are left out; `bench run` makes them again",
            extra=ONCE,
        )
    return frozenset(others)


def _told(run: Path, rows: Sequence[ImageRow], faults: dict[tuple[str, int], str]) -> str:
    """The faults as one clause, with the runs that share the damaged files."""
    by_key = {row.key: row for row in rows}
    shown = [f"{key[0]}/{key[1]}.png is {why}" for key, why in list(faults.items())[:_NAMED]]
    more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    shared = sorted({name for key in faults if key in by_key for name in sharing(run, by_key[key])})
    also = f" (the same files, by hard links, belong to {', '.join(shared)})" if shared else ""
    return ", ".join(shown) + more + also
