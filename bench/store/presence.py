"""Who works on a folder together with others: a file that a worker holds locked as long as it lives.

`<folder>/.workers/<name>.lock`. The lock of the whole folder (`bench.store.locks`) waits until nobody holds one. A
worker that is killed lets go of its file, which means nothing from then on.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store.atomic import make_folder, write_error

if TYPE_CHECKING:
    from filelock import FileLock

WORKERS = ".workers"


def claim(folder: Path, name: str) -> FileLock | None:
    """Take the place of a worker; None where another process has it. Call it only while the folder is locked."""
    from filelock import FileLock, Timeout

    path = make_folder(folder / WORKERS) / f"{name}.lock"
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except OSError as error:
        raise write_error(path, error) from None
    return lock


def leave(lock: FileLock) -> None:
    """Give the place back. Call it only while the folder is locked: nobody may open the file in between."""
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


def present(folder: Path) -> list[str]:
    """Names of the workers of a folder that live, sorted; what killed ones left is removed.

    Call it only while the folder is locked.
    """
    names = []
    for path in sorted((folder / WORKERS).glob("*.lock")):
        free = claim(folder, path.stem)
        if free is None:
            names.append(path.stem)
        else:
            leave(free)
    return names
