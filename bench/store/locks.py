"""Folders that one process at a time may write to, or several workers that said so.

A worker (`working`) holds a place of its own, and the folder only for single writes. Whoever wants the folder for a
whole stage (`locked`) waits until there are no workers, and leaves the folder to them meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from bench.errors import UsageError
from bench.store.atomic import make_folder, write_error
from bench.store.leftovers import clean_leftovers
from bench.store.presence import claim, leave, present

if TYPE_CHECKING:
    from filelock import FileLock

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Lockable(Protocol):
    """What can be held for writing, such as a run."""

    def lock(self, *, clean: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold it; see `locked`."""


_L = TypeVar("_L", bound=Lockable)
SECONDS_BETWEEN_LOOKS = 0.5
"""While workers are waited for."""
PATIENCE = 10.0
"""Seconds for which a worker, or the last one, waits in silence for single writes of the others."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hold:
    """This process's hold of one folder: how often it was entered, by all threads together."""

    lock: FileLock
    count: int = 0
    stamp: int = 0  # how often it was taken from nobody
    workers: int = 0  # places that this process has
    lent: bool = False  # the process that started this one holds it meanwhile
    mutex: threading.Lock = field(default_factory=threading.Lock)


# By the folder's real path: under two names, the one process would wait for itself.
_holds: dict[Path, _Hold] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holds.clear)  # a child holds nothing of what its parent does


@contextlib.contextmanager
def locked(folder: Path, taken: str, *, clean: bool = True) -> Iterator[None]:
    """Hold a folder for writing, alone among processes, and clean it of what a killed holder left.

    While another process holds it, the message `taken` is told and this one waits. The process that holds it may enter
    again, in any of its threads. With `clean=False`, for a single write, the folder is not searched for leftovers.
    """
    hold = _hold_of(folder)
    with hold.mutex:
        if hold.count == 0 and not hold.lent:
            _acquire(hold, folder, taken)
            hold.stamp += 1
        hold.count += 1
        first = hold.count == 1
    try:
        if clean and first and not hold.lent and not hold.workers:
            clean_leftovers(folder)
        yield
    finally:
        with hold.mutex:
            hold.count -= 1
            if hold.count == 0 and not hold.lent:
                hold.lock.release()


@contextlib.contextmanager
def working(folder: Path, name: str, taken: str) -> Iterator[None]:
    """Work on a folder together with others, under a name that only one of them has.

    Meanwhile `locked` holds it against other single writes, and not against the other workers. Raises UsageError where
    a living process has the name.
    """
    hold = _hold_of(folder)
    with hold.mutex:
        _take(hold.lock, folder, taken, PATIENCE)
        place = claim(folder, name)
        hold.workers += place is not None
        hold.lock.release()
    if place is None:
        raise UsageError(f"{name} of {folder} is at work in another process: wait for it, or end it first")
    try:
        yield
    finally:
        with hold.mutex:
            if hold.count == 0:
                _take(hold.lock, folder, taken, PATIENCE)
            leave(place)
            hold.workers -= 1
            if hold.count == 0:
                hold.lock.release()


@contextlib.contextmanager
def last_one(folder: Path) -> Iterator[bool]:
    """Hold a folder for a whole stage if nobody else has it and there are no workers, and say whether that is so."""
    from filelock import Timeout

    hold = _hold_of(folder)
    with hold.mutex:
        free = hold.count > 0
        if not free and not hold.workers:
            with contextlib.suppress(Timeout):
                hold.lock.acquire(timeout=PATIENCE)
                free = not present(folder)
                if not free:
                    hold.lock.release()
        hold.stamp += free and hold.count == 0
        hold.count += free
    try:
        yield free
    finally:
        with hold.mutex:
            hold.count -= free
            if free and hold.count == 0:
                hold.lock.release()


def lend(folder: Path) -> None:
    """For the rest of this process: the process that started it holds the folder, so that it need not be locked."""
    _hold_of(folder).lent = True


def held_above(folder: Path) -> tuple[Path, int] | None:
    """Which hold of this process covers a folder in a run; None without one. Equal: held without a break since."""
    for parent in folder.absolute().parents[:2]:
        hold = _holds.get(parent.resolve())
        if hold is not None and hold.count:
            return parent, hold.stamp
    return None


def locking(write: Callable[Concatenate[_L, _P], _T]) -> Callable[Concatenate[_L, _P], _T]:
    """A write that holds the run: again where the caller does so for a whole stage, else for that write alone."""

    @functools.wraps(write)
    def writing(store: _L, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with store.lock(clean=False):
            return write(store, *args, **kwargs)

    return writing


def _hold_of(folder: Path) -> _Hold:
    from filelock import FileLock

    path = folder.resolve()
    if path not in _holds:  # two threads at once: setdefault keeps the one that both use
        _holds.setdefault(path, _Hold(FileLock(path / ".lock", thread_local=False)))
    return _holds[path]


def _acquire(hold: _Hold, folder: Path, taken: str) -> None:
    """Take the folder, and unless this process is a worker itself, wait until there are none."""
    told = False
    while True:
        _take(hold.lock, folder, taken, PATIENCE if hold.workers or told else 0)
        others = [] if hold.workers else present(folder)
        if not others:
            return
        hold.lock.release()  # the workers need it for their single writes
        if not told:
            logger.warning(f"{taken} ({', '.join(others)}): waiting until it has finished (Ctrl-C to give up)")
        told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _take(lock: FileLock, folder: Path, taken: str, patience: float) -> None:
    from filelock import Timeout

    make_folder(folder)
    try:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            logger.warning(f"{taken}: waiting until it has finished (Ctrl-C to give up)")
            lock.acquire()
    except OSError as error:
        raise write_error(folder, error) from None
