"""Makes a run anew beside the old one, and puts it in its place only when it is complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.store.atomic import temporary_name, write_error
from bench.store.run_store import RunStore, lock_runs


@contextlib.contextmanager
def starting_again(stores: Sequence[RunStore]) -> Iterator[list[RunStore]]:
    """Empty stores for the same runs; on leaving without an error they replace the old ones.

    The caller holds the locks of `stores`. After an error the old runs are as they were, and the unfinished new ones
    are removed.
    """
    fresh = [RunStore(_beside(store.path)) for store in stores]
    for store in fresh:
        shutil.rmtree(store.path, ignore_errors=True)
    try:
        with lock_runs(fresh):
            yield fresh
            for old, new in zip(stores, fresh, strict=True):
                _swap(old.path, new.path)
    finally:
        for store in fresh:
            shutil.rmtree(store.path, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A name that no search for runs finds: hidden and without '@'."""
    return path.with_name(f".again-{path.name.replace('@', '-')}")


def _swap(old: Path, new: Path) -> None:
    gone = temporary_name(old).with_suffix("")
    gone = gone.with_name(gone.name.replace("@", "-"))
    try:
        old.rename(gone)
        new.rename(old)
    except OSError as error:
        raise write_error(old, error) from None
    shutil.rmtree(gone, ignore_errors=True)
