"""The folder on this machine that stands for a results folder in an object store, and how the two are kept alike.

Everything works on the folder, with its locks, atomic writes and digests. Before a command what is new in the store is
fetched; while it works and at its end what is new in the folder is sent: pictures first, then parts, then what is
replaced, manifests last. So whatever a killed writer leaves in the store is a run that can be continued, from anywhere.

Pictures, parts and files of prompts are written once and created exclusively. What is replaced (manifests, summaries,
cards) is taken from whoever wrote last; it follows from the parts, and is made again where it does not fit them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError, UsageError
from bench.formatting import counted
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, make_folder, read_bytes, read_json, to_json
from bench.store.digests import ENDING, digest_in_name, state_of
from bench.store.object_store import ObjectStore

logger = get_logger(__name__)

RUNS = "runs"
"""The part of a results folder that is kept in the store; caches and reports stay here."""
SECONDS_BETWEEN = 15.0
"""How often a working command sends what is new."""
_RECORD = ".in-store.json"
_THREADS = 8
_TRIES = 3
T = TypeVar("T")


def folder_of(url: str) -> Path:
    """Where the working folder of an address is: in $BENCH_REMOTE, or ~/.cache/imagerefl-bench/remote."""
    root = Path(os.environ.get("BENCH_REMOTE") or Path.home() / ".cache" / "imagerefl-bench" / "remote")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url).strip("-.")[-60:]
    return root.expanduser() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


@dataclass
class WorkingFolder:
    """A working folder and its store. `in_store`: the names that were in both when they were last alike, with the
    sha256 of those that are replaced ("" for those that are written once)."""

    store: ObjectStore
    path: Path
    in_store: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, pictures: bool) -> None:
        """Take what is new in the store. Without `pictures`, those that are not here yet are not fetched."""
        with self._held():
            there = {name: size for name, size in self.store.sizes().items() if _is_kept(name)}
            for name in self.in_store.keys() - there.keys():  # removed by somebody else
                for one in (name, name + ENDING):
                    (self.path / one).unlink(missing_ok=True)
                del self.in_store[name]
            _in_parallel(self._take, [name for name, size in there.items() if self._is_wanted(name, size, pictures)])

    def send(self, *, all_of_it: bool = True) -> int:
        """Send what is new here; returns how many objects were written. `all_of_it`: what was removed here, too.

        What comes last is read first: it never speaks of what was not sent.
        """
        with self._held():
            replaced = [found for name in self._names() if not _is_once(name) and (found := self._snapshot(name))]
            parts = [name for name in self._names() if _is_once(name) and not _is_picture(name)]
            pictures = [name for name in self._names() if _is_picture(name)]
            sent = 0
            for names in (pictures, parts):
                sent += sum(_in_parallel(self._create, [name for name in names if name not in self.in_store]))
            sent += sum(self._replace(*found) for found in sorted(replaced, key=lambda found: _is_manifest(found[0])))
            if all_of_it:
                self._remove_gone()
        return sent

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """While this lasts, what is new is sent every `SECONDS_BETWEEN` seconds; at its end, all of it."""
        ended = threading.Event()

        def keep_sending() -> None:
            while not ended.wait(SECONDS_BETWEEN):
                try:
                    self.send(all_of_it=False)
                except BenchError as error:  # the last time tells whether it stays so
                    logger.warning(f"{self.store.url} is not up to date: {error}", extra=ONCE)

        thread = threading.Thread(target=keep_sending, name="object-store", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            sent = self.send()
        logger.info(f"{self.store.url}: {counted(sent, 'object')} written")

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Alone among the threads and processes that use this folder; what they know of the store is read and kept."""
        from filelock import FileLock

        make_folder(self.path)
        with self.lock, FileLock(self.path / ".in-store.lock"):
            self.in_store = {str(name): str(text) for name, text in (read_json(self.path / _RECORD) or {}).items()}
            try:
                yield
            finally:
                atomic_write(self.path / _RECORD, to_json(self.in_store))

    def _names(self) -> list[str]:
        """What is here and belongs into the store; digests beside files go with them."""
        found = (path.relative_to(self.path).as_posix() for path in (self.path / RUNS).rglob("*") if path.is_file())
        return sorted(name for name in found if _is_kept(name))

    def _is_wanted(self, name: str, size: int, pictures: bool) -> bool:
        if not _is_once(name):
            return True
        try:
            is_here = (self.path / name).stat().st_size == size
        except FileNotFoundError:
            is_here = False
        if is_here:
            self.in_store[name] = ""
        return not is_here and (pictures or not _is_picture(name))

    def _take(self, name: str) -> None:
        """Fetch one file, with the digest beside it, and put it in place."""
        path = self.path / name
        digests: bytes | None = None
        data, sha256 = b"", ""
        for _ in range(_TRIES):  # both may be replaced between two looks; a lasting fault is told where it is read
            digests = None if _is_once(name) else self.store.read(name + ENDING)
            found = self.store.read(name)
            if found is None:  # removed meanwhile
                return
            data, sha256 = found, hashlib.sha256(found).hexdigest()
            if digests is None or sha256.encode() in digests:
                break
        expected = digest_in_name(path)
        if expected not in (None, sha256):
            raise UsageError(
                f"{self.store.url}/{name} is damaged (sha256 {sha256}, not the one in its name): remove it there, and "
                "run the same command again, which makes what is missing anew"
            )
        if _is_once(name):
            atomic_write(path, data)
            self.in_store[name] = ""
        elif self._is_mine_newer(name, sha256):
            return
        else:
            if digests is not None:
                atomic_write(path.with_name(path.name + ENDING), digests)
            atomic_write(path, data)
            self.in_store[name] = sha256

    def _is_mine_newer(self, name: str, theirs: str) -> bool:
        """Whether the file here was changed after both were alike, and the one in the store was not."""
        try:
            mine = hashlib.sha256(read_bytes(self.path / name)).hexdigest()
        except FileNotFoundError:
            return False
        before = self.in_store.get(name)
        if mine in (before, theirs):
            return False
        if before == theirs:
            return True
        logger.warning(f"{self.store.url}/{name} was changed there and here: the one in the store is taken", extra=ONCE)
        return False

    def _snapshot(self, name: str) -> tuple[str, bytes, bytes | None] | None:
        """A file that is replaced and the digests beside it; None where one of them is being replaced right now."""
        path = self.path / name
        with contextlib.suppress(FileNotFoundError):
            data = read_bytes(path)
            if state_of(path, data) == "damaged":
                return None
            beside = path.with_name(path.name + ENDING)
            return name, data, read_bytes(beside) if beside.exists() else None
        return None

    def _create(self, name: str) -> bool:
        try:
            data = read_bytes(self.path / name)
        except FileNotFoundError:  # removed since it was listed
            return False
        made = self.store.create(name, data)
        self.in_store[name] = ""
        return made

    def _replace(self, name: str, data: bytes, digests: bytes | None) -> bool:
        sha256 = hashlib.sha256(data).hexdigest()
        if self.in_store.get(name) == sha256:
            return False
        if digests is not None:
            self.store.replace(name + ENDING, digests)
        self.store.replace(name, data)
        self.in_store[name] = sha256
        return True

    def _remove_gone(self) -> None:
        """Remove from the store what was there and is here no longer; of a run that was removed, all there is."""
        gone = [name for name in self.in_store if not (self.path / name).exists()]
        runs = {_run_of(name) for name in gone if _is_manifest(name)}
        runs = {run for run in runs if not (self.path / run).exists()}
        for name in gone:
            del self.in_store[name]
        names = {*gone, *(name + ENDING for name in gone if not _is_once(name))}
        if runs:
            names |= {name for name in self.store.sizes() if _run_of(name) in runs}
        self.store.remove(sorted(names, key=lambda name: "/manifest.json" not in name))


def _is_kept(name: str) -> bool:
    """Whether a name is a file of a run, and leads nowhere else."""
    parts = name.split("/")
    return (
        parts[0] == RUNS
        and len(parts) > 3
        and not name.endswith(ENDING)
        and not any(part in ("", "..") or part.startswith(".") or "\\" in part for part in parts)
    )


def _is_once(name: str) -> bool:
    """Whether a file is written once and never replaced."""
    return _is_picture(name) or name.endswith(".parquet") or digest_in_name(Path(name)) is not None


def _is_picture(name: str) -> bool:
    return name.endswith(".png")


def _is_manifest(name: str) -> bool:
    return name.endswith("/manifest.json")


def _run_of(name: str) -> str:
    return "/".join(name.split("/")[:3])


def _in_parallel(work: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """The work on all names; the first error is raised when those that were begun have ended."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="object-store") as pool:
        futures = [pool.submit(work, name) for name in names]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
