"""What the working folder of an object store has to know of its files: recorded pictures, and values of other cards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.store.atomic import read_bytes
from bench.store.cards import same_card
from bench.store.digests import ENDING, state_of
from bench.store.names_in_stores import CARD, run_of
from bench.store.run_store import RunStore
from metrics.weights.digest_cache import DigestCache


def sha256_of_files(results: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of those files of a results folder that are there; remembered as long as they do not change."""
    found = DigestCache(results / "cache" / "digests").digests(results, names)
    return {name: digest for name, digest in found.items() if isinstance(digest, str)}


def recorded_digests(results: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 with which pictures are recorded in their runs; those that nothing records are left out."""
    wanted, found = set(names), {}
    for run in sorted({run_of(name) for name in wanted}):
        with contextlib.suppress(BenchError):  # of a newer version: the command that reads the run says so
            rows = RunStore(results / run).images()
            found.update({f"{run}/{row.path}": row.sha256 for row in rows if row.sha256})
    return {name: digest for name, digest in found.items() if name in wanted}


def drop_values_of_other_cards(results: Path, name: str, theirs: bytes, kept: Collection[str]) -> None:
    """Remove the values beside a card that is about to be replaced by one that is not theirs, but for those `kept`."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        if same_card(json.loads(read_bytes(results / name)), json.loads(theirs)):
            return
    for path in (results / name).parent.glob("*.parquet"):
        if path.relative_to(results).as_posix() not in kept:
            path.unlink(missing_ok=True)


def snapshot(results: Path, name: str) -> tuple[str, bytes, bytes | None] | None:
    """A file that is replaced and the digests beside it; None where one of them is being replaced right now."""
    path = results / name
    with contextlib.suppress(FileNotFoundError):
        data = read_bytes(path)
        if state_of(path, data) == "damaged":
            return None
        beside = path.with_name(path.name + ENDING)
        return name, data, read_bytes(beside) if beside.exists() else None
    return None


def is_unsettled(results: Path, folder: str, cards: Mapping[str, bytes]) -> bool:
    """Whether the card of a folder's values was replaced while the folder was listed."""
    try:
        return cards.get(folder) != read_bytes(results / folder / CARD)
    except FileNotFoundError:
        return folder in cards
