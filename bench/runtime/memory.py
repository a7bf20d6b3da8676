"""The most memory that work needed: what the process held itself, without the files that it had mapped.

The peak that the system keeps (`bench.runtime.devices.peak_memory`) has pages of mapped files in it, such as a
checkpoint while it is copied, which it takes back as soon as somebody wants them. It keeps no peak without them:
what is held now is read again and again while work is `watched`, and a peak shorter than `INTERVAL` may be missed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from bench.runtime.devices import peak_memory

INTERVAL = 0.05
"""Seconds between two readings."""
_HELD = ("RssAnon:", "RssShmem:")
_lock = threading.Lock()
_most = 0
_watchers = 0
_over = threading.Event()


def held_memory() -> int | None:
    """Bytes that this process holds now, mapped files aside; None where the system does not tell them apart."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/status", encoding="utf-8") as status:
            found = [int(line.split()[1]) * 1024 for line in status if line.startswith(_HELD)]
        if found:
            return sum(found)
    return None


def needed_memory() -> int:
    """The most bytes that this process held so far, while it was watched and now, mapped files aside.

    Where the system does not tell mapped files apart, its own peak with them.

    >>> needed_memory() >= 0
    True
    """
    global _most
    now = held_memory()
    if now is None:
        return peak_memory()
    with _lock:
        _most = max(_most, now)
        return _most


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Inside, a thread reads how much memory is held. One thread, however often this is entered."""
    global _watchers, _over
    with _lock:
        _watchers += 1
        if _watchers == 1:
            _over = threading.Event()
            threading.Thread(target=_watch, args=(_over,), name="memory", daemon=True).start()
    try:
        yield
    finally:
        needed_memory()
        with _lock:
            _watchers -= 1
            if _watchers == 0:
                _over.set()


def _watch(over: threading.Event) -> None:
    while not over.wait(INTERVAL):
        needed_memory()
