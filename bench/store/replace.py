"""Makes a run anew beside the old one, and puts it in its place only when it is complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.store.atomic import sync_folder, write_error
from bench.store.leftovers import temporary_name
from bench.store.presence import WORKERS
from bench.store.run_store import RunStore, lock_runs


@contextlib.contextmanager
def starting_again(stores: Sequence[RunStore]) -> Iterator[list[RunStore]]:
    """Empty stores for the same runs; on leaving without an error they replace the old ones.

    The caller holds the locks of `stores`. After an error the old runs are as they were, and the unfinished new ones
    are removed.
    """
    fresh = [RunStore(_beside(store.path), store.name) for store in stores]
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
    """Put what is in `new` in the place of what is in `old`. The folder itself stays, for its lock file is held:
    another process that waits for the lock must not be given that of a folder which is gone.

    Readers take no lock, so the manifest, without which there is no run, goes first and comes last.
    """
    gone = temporary_name(old / "replaced")
    moved: list[tuple[Path, Path]] = []
    try:
        gone.mkdir()
        for source, target in ((old, gone), (new, old)):
            manifest_is_last = source == new
            for path in sorted(_content(source), key=lambda path: (path.name == "manifest.json") == manifest_is_last):
                path.rename(target / path.name)
                moved.append((path, target / path.name))
        for path in sorted((old / WORKERS).glob("*.json")):  # what was spent on the old run
            path.rename(gone / path.name)
            moved.append((path, gone / path.name))
    except OSError as error:
        with contextlib.suppress(OSError):
            for before, now in reversed(moved):
                now.rename(before)
            gone.rmdir()
        raise write_error(old, error) from None
    sync_folder(old)
    shutil.rmtree(gone, ignore_errors=True)


def _content(folder: Path) -> list[Path]:
    """What belongs to the run, without its lock and without temporary files."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
