"""Reading the images of runs: verified against their recorded digest and decoded, by worker threads, ahead of use."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.runtime.threads import available_cores
from bench.store.atomic import image_fault
from bench.store.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_WORKERS = 4  # PIL and hashlib let the interpreter go while they work, but a decoder beside torch is enough
KEEP_BYTES = 512 << 20
"""Decoded pixels that are kept while metrics take turns in memory; images beyond are decoded again for each turn."""

T = TypeVar("T")
R = TypeVar("R")


class Reader:
    """Threads that read images, and others that prepare them; made by `reading`. It counts what it did."""

    def __init__(self, files: ThreadPoolExecutor, work: ThreadPoolExecutor, keep_bytes: int = 0) -> None:
        self._pool = files  # may be busy with images that are wanted later
        self._work = work
        self._room = keep_bytes
        self._kept: dict[tuple[Path, str], Image] = {}
        self._lock = threading.Lock()
        self.decoded = 0
        self.verified = 0

    def submit(self, function: Callable[[T], R], item: T) -> Future[R]:
        """Call a function in a thread that does not wait for files of other calls."""
        return self._work.submit(function, item)

    def keep(self, most_bytes: int) -> None:
        """Keep decoded images for another turn, first come, first kept, up to so many bytes."""
        self._room = most_bytes

    def image(self, path: Path, sha256: str) -> Future[Image | str]:
        """The decoded image, or why it cannot be used."""
        return self._pool.submit(self._image, path, sha256)

    def fault(self, path: Path, sha256: str) -> Future[str | None]:
        """Why the file is not the recorded image, None when it is; nothing is decoded."""
        return self._pool.submit(self._fault, path, sha256)

    def _fault(self, path: Path, sha256: str) -> str | None:
        found = image_fault(path, sha256)
        with self._lock:
            self.verified += 1
        return found

    def _image(self, path: Path, sha256: str) -> Image | str:
        with self._lock:
            held = self._kept.get((path, sha256))
        if held is not None:
            return held
        found = read_image(path, sha256)
        with self._lock:
            self.decoded += 1
            if not isinstance(found, str):
                size = found.width * found.height * len(found.getbands())
                if size <= self._room:
                    self._room -= size
                    self._kept[path, sha256] = found
        return found


@contextmanager
def reading(keep_bytes: int = 0) -> Iterator[Reader]:
    """A reader with its threads, which end with the block."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():  # filters belong to the whole process: set before any thread starts
        warnings.simplefilter("ignore", DecompressionBombWarning)  # our own limit is asked instead
        workers = min(MOST_WORKERS, available_cores())
        with _pool(workers) as files, _pool(workers) as work:
            yield Reader(files, work, keep_bytes)


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="bench-read")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
