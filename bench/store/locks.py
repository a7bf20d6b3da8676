"""Folders that one process at a time may write to."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from bench.store.atomic import make_folder, write_error
from bench.store.leftovers import clean_leftovers

if TYPE_CHECKING:
    from filelock import FileLock

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Lockable(Protocol):
    """What can be held for writing, such as a run."""

    def lock(self, *, clean: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold it; see `locked`."""


_L = TypeVar("_L", bound=Lockable)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hold:
    """This process's hold of one folder: how often it was entered, by all threads together."""

    lock: FileLock
    count: int = 0
    stamp: int = 0  # how often it was taken from nobody
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
        if hold.count == 0:
            _acquire(hold.lock, folder, taken)
            hold.stamp += 1
        hold.count += 1
        first = hold.count == 1
    try:
        if clean and first:
            clean_leftovers(folder)
        yield
    finally:
        with hold.mutex:
            hold.count -= 1
            if hold.count == 0:
                hold.lock.release()


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


def _acquire(lock: FileLock, folder: Path, taken: str) -> None:
    from filelock import Timeout

    make_folder(folder)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning(f"{taken}: waiting until it has finished (Ctrl-C to give up)")
            lock.acquire()
    except OSError as error:
        raise write_error(folder, error) from None
