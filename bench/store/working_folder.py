"""The folder on this machine that stands for a results folder in an object store, and how the two are kept alike.

Everything works on the folder, with its locks, atomic writes and digests. Before a command what is new in the store is
fetched; while it works and at its end what is new in the folder is sent: pictures first, then cards, parts, what is
replaced, manifests last. So whatever a killed writer leaves in the store is a run that can be continued, from anywhere.

Pictures, parts and files of prompts are written once and created exclusively; a picture that was made anew and recorded
here replaces the one that it was made from. What is replaced (manifests, summaries, cards) is taken from whoever wrote
last; it follows from the parts, and is made again where it does not fit them. No values lie beside a card that is not
theirs: before those under another card are sent, the old card and its values are removed.
"""

from __future__ import annotations

import contextlib
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
from bench.store.digests import ENDING, digest_in_name, sha256_of
from bench.store.names_in_stores import (
    CARD,
    RUNS,
    folder_of_name,
    is_card,
    is_kept,
    is_manifest,
    is_once,
    is_picture,
    run_of,
)
from bench.store.object_store import ObjectStore
from bench.store.values_apart import (
    drop_values_of_other_cards,
    is_unsettled,
    recorded_digests,
    sha256_of_files,
    snapshot,
)

logger = get_logger(__name__)

SECONDS_BETWEEN = 15.0
"""How often a working command sends what is new."""
_RECORD = ".in-store.json"
_THREADS = 8
_TRIES = 3
T = TypeVar("T")


@dataclass
class WorkingFolder:
    """A working folder and its store. `in_store`: the names that were in both when they were last alike, with the
    sha256 of pictures and of those that are replaced ("" for others)."""

    store: ObjectStore
    path: Path
    in_store: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, pictures: bool) -> None:
        """Take what is new in the store. Without `pictures`, those that are not here yet are not fetched."""
        with self._held():
            there = {name: size for name, size in self.store.sizes().items() if is_kept(name)}
            for name in self.in_store.keys() - there.keys():  # removed by somebody else
                if not is_card(name) or not self._is_changed(name):
                    for one in (name, name + ENDING):
                        (self.path / one).unlink(missing_ok=True)
                del self.in_store[name]
            _in_parallel(self._take, [name for name in there if not is_once(name)])
            left = self._left_by_new_cards()
            parts = [name for name in there if is_once(name) and not is_picture(name) and name not in left]
            _in_parallel(self._take, [name for name in parts if self._is_wanted(name, there[name])])
            _in_parallel(self._take, self._wanted_pictures([name for name in there if is_picture(name)], pictures))
            # What was removed here before this command began was not removed by it.
            self.in_store = {
                name: text for name, text in self.in_store.items() if name in left or (self.path / name).exists()
            }

    def send(self, *, all_of_it: bool = True) -> int:
        """Send what is new here; returns how many objects were written. `all_of_it`: what was removed here, too.

        What comes last is read first: it never speaks of what was not sent.
        """
        with self._held():
            replaced = [found for name in self._names() if not is_once(name) and (found := snapshot(self.path, name))]
            parts = [name for name in self._names() if is_once(name) and not is_picture(name)]
            pictures = [name for name in self._names() if is_picture(name)]
            cards = {folder_of_name(name): data for name, data, _ in replaced if is_card(name)}
            unsettled = {
                folder for folder in {folder_of_name(name) for name in parts} if is_unsettled(self.path, folder, cards)
            }
            replaced = [found for found in replaced if folder_of_name(found[0]) not in unsettled]
            parts = [name for name in parts if name not in self.in_store and folder_of_name(name) not in unsettled]
            sent = self._send_pictures(pictures, all_of_it)
            self._remove_old_values(cards.keys() - unsettled)
            sent += sum(self._replace(*found) for found in replaced if is_card(found[0]))
            sent += sum(_in_parallel(self._create, parts))
            sent += sum(self._replace(*found) for found in sorted(replaced, key=lambda found: is_manifest(found[0])))
            if all_of_it:
                self._remove_gone()
        return sent

    def _send_pictures(self, names: list[str], all_of_it: bool) -> int:
        """Create the new pictures. One that was made anew here replaces that in the store, once it is recorded."""
        new = [name for name in names if not self.in_store.get(name)]
        digests = sha256_of_files(self.path, [name for name in names if self.in_store.get(name)])
        changed = [name for name, digest in digests.items() if digest != self.in_store[name]]
        recorded = recorded_digests(self.path, changed)
        remade = [name for name in changed if recorded.get(name) == digests[name]]
        if all_of_it:  # before, they may be about to be recorded
            new += [name for name in changed if name not in remade]
        return sum(_in_parallel(self._create, new)) + sum(_in_parallel(self._replace_picture, remade))

    def _replace_picture(self, name: str) -> bool:
        """Replace a picture by the one made anew here, unless somebody else did the same meanwhile."""
        there = self.store.read(name)
        if there is None or sha256_of(there) != self.in_store[name]:
            return self._create(name)
        try:
            return self._replace(name, read_bytes(self.path / name), None)
        except FileNotFoundError:  # removed since it was listed
            return False

    def _remove_old_values(self, folders: Iterable[str]) -> None:
        """Remove from the store the values that were dropped here, and their card, before others are sent."""
        chosen = set(folders)
        gone = sorted(name for name in self.in_store if folder_of_name(name) in chosen)
        gone = [name for name in gone if not (self.path / name).exists()]
        cards = [f"{folder}/{CARD}" for folder in sorted({folder_of_name(name) for name in gone})]
        self.store.remove([*cards, *(name + ENDING for name in cards), *gone])
        for name in (*cards, *gone):
            self.in_store.pop(name, None)

    def _is_changed(self, name: str) -> bool:
        """Whether a file is here with other content than when it was last alike."""
        try:
            return sha256_of(read_bytes(self.path / name)) != self.in_store.get(name)
        except FileNotFoundError:
            return False

    def _left_by_new_cards(self) -> set[str]:
        """What is still in the store of values that were dropped here, where those of another card are made."""
        gone = {name for name in self.in_store if not (self.path / name).exists()}
        changed = {folder for folder in map(folder_of_name, gone) if self._is_changed(f"{folder}/{CARD}")}
        return {name for name in gone if folder_of_name(name) in changed}

    def _wanted_pictures(self, there: list[str], missing: bool) -> list[str]:
        """The pictures in the store that are to be taken: those that are not here, where wanted, and those that are
        neither what is recorded nor what was last sent."""
        digests = sha256_of_files(self.path, there)
        recorded = recorded_digests(self.path, digests)
        other = [name for name, mine in digests.items() if mine != recorded.get(name, self.in_store.get(name))]
        return other + [name for name in there if missing and name not in digests]

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
        return sorted(name for name in found if is_kept(name))

    def _is_wanted(self, name: str, size: int) -> bool:
        try:
            is_here = (self.path / name).stat().st_size == size  # its content is that of the digest in its name
        except FileNotFoundError:
            return True
        if is_here:
            self.in_store[name] = ""
        return not is_here

    def _take(self, name: str) -> None:
        """Fetch one file, with the digest beside it, and put it in place."""
        path = self.path / name
        digests: bytes | None = None
        data, sha256 = b"", ""
        for _ in range(_TRIES):  # both may be replaced between two looks; a lasting fault is told where it is read
            digests = None if is_once(name) else self.store.read(name + ENDING)
            found = self.store.read(name)
            if found is None:  # removed meanwhile
                return
            data, sha256 = found, sha256_of(found)
            if digests is None or sha256.encode() in digests:
                break
        expected = digest_in_name(path)
        if expected not in (None, sha256):
            raise UsageError(
                f"{self.store.url}/{name} is damaged (sha256 {sha256}, not the one in its name): remove it there, and "
                "run the same command again, which makes what is missing anew"
            )
        if is_once(name):
            atomic_write(path, data)
            self.in_store[name] = sha256 if is_picture(name) else ""
        elif self._is_mine_newer(name, sha256):
            return
        else:
            if digests is not None:
                atomic_write(path.with_name(path.name + ENDING), digests)
            if is_card(name):
                drop_values_of_other_cards(self.path, name, data, self.in_store)
            atomic_write(path, data)
            self.in_store[name] = sha256

    def _is_mine_newer(self, name: str, theirs: str) -> bool:
        """Whether the file here was changed after both were alike, and the one in the store was not."""
        try:
            mine = sha256_of(read_bytes(self.path / name))
        except FileNotFoundError:
            return False
        before = self.in_store.get(name)
        if mine in (before, theirs):
            return False
        if before == theirs:
            return True
        logger.warning(f"{self.store.url}/{name} was changed there and here: the one in the store is taken", extra=ONCE)
        return False

    def _create(self, name: str) -> bool:
        try:
            data = read_bytes(self.path / name)
        except FileNotFoundError:  # removed since it was listed
            return False
        made = self.store.create(name, data)
        self.in_store[name] = sha256_of(data) if is_picture(name) else ""
        return made

    def _replace(self, name: str, data: bytes, digests: bytes | None) -> bool:
        sha256 = sha256_of(data)
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
        runs = {run_of(name) for name in gone if is_manifest(name)}
        runs = {run for run in runs if not (self.path / run).exists()}
        for name in gone:
            del self.in_store[name]
        names = {*gone, *(name + ENDING for name in gone if not is_once(name))}
        if runs:
            names |= {name for name in self.store.sizes() if run_of(name) in runs}
        self.store.remove(sorted(names, key=lambda name: "/manifest.json" not in name))


def _in_parallel(work: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """The work on all names; the first error is raised when those that were begun have ended."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="object-store") as pool:
        futures = [pool.submit(work, name) for name in names]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
