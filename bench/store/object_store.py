"""One folder of an object store (s3://, gs://, ...), through fsspec: listed, read, created exclusively, replaced.

An object store knows no renaming. What is written once is created only where nothing is (S3: `If-None-Match: *`,
Google: `ifGenerationMatch=0`): of several writers exactly one wins, and the others find out whether theirs is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError, MissingError, UsageError
from bench.formatting import one_line

_URL = re.compile(r"(?P<kind>[a-z][a-z0-9+.-]+):(?:/+(?P<rest>[^/].*)|/*)")
_LOCAL = frozenset({"file", "local"})
_READ_ONLY = frozenset({"http", "https", "git", "github", "hf", "zip", "tar", "libarchive", "data", "reference"})
_EXTRA = {"s3": "s3", "s3a": "s3"}
"""Kind of store -> the extra of this package that brings its client."""


def store_url(path: Path | str) -> str | None:
    """The address of an object store that a path is, also of one whose slashes `Path` took away; None for a folder.

    Raises UsageError for the kind of a store alone.

    >>> store_url(Path("s3://bucket/results"))
    's3://bucket/results'
    >>> store_url("results") is None
    True
    """
    found = _URL.fullmatch(str(path))
    if found is None:
        return None
    from fsspec import available_protocols

    if found["kind"] in _LOCAL or found["kind"] not in available_protocols():
        return None
    if found["rest"] is None:
        raise UsageError(f"'{path}' names no bucket: write {found['kind']}://BUCKET/PATH")
    return f"{found['kind']}://{found['rest'].rstrip('/')}"


def refuse_store(path: Path | str) -> None:
    """Raise UsageError for the address of an object store, where only folders are worked on."""
    if (url := store_url(path)) is not None:
        raise UsageError(f"{url} is an object store, which is not read or written here: copy it to a folder first")


@dataclass
class ObjectStore:
    """The objects whose names begin with one address. Names are relative to it, with slashes."""

    url: str
    _files: Any = field(default=None, init=False)
    _root: str = field(default="", init=False)
    _is_exclusive: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Raise UsageError or MissingError for an address that cannot be worked on."""
        kind = self.url.partition(":")[0]
        if "@" in self.url:
            raise UsageError("the address of an object store must not have a key in it: use its client's own settings")
        if kind in _READ_ONLY:
            raise UsageError(f"{self.url} cannot be written to: name an object store, such as s3://bucket/results")
        import fsspec

        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            extra = _EXTRA.get(kind)
            how = f"pip install 'imagerefl-bench[{extra}]'" if extra else one_line(str(error))
            raise MissingError(f"{self.url} needs the client of its store, which is not installed: {how}") from None
        except ValueError as error:
            raise UsageError(f"{self.url} is no address of an object store: {one_line(str(error))}") from None

    def sizes(self) -> dict[str, int]:
        """The names of all objects, with their bytes."""
        with self._told("list"):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._root) + 1
        return {path[start:]: int(facts["size"]) for path, facts in found.items() if path.startswith(f"{self._root}/")}

    def read(self, name: str) -> bytes | None:
        """The content of an object; None where there is none."""
        with self._told("read"):
            try:
                data: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
        return data

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is written once; False where an equal one is there. UsageError for a different one."""
        self._check_exclusive()
        if self._created(name, data):
            return True
        there = self.read(name)
        if there is None:  # removed meanwhile
            return self.create(name, data)
        ours, theirs = (hashlib.sha256(one).hexdigest() for one in (data, there))
        if ours != theirs:
            raise UsageError(
                f"{self.url}/{name} is there with other content (sha256 {theirs}, here {ours}): another writer made it "
                "otherwise, or the run was made anew: remove that run with `bench rm` first, or use another address"
            )
        return False

    def replace(self, name: str, data: bytes) -> None:
        """Write an object, whatever is there."""
        with self._told("write"):
            self._files.pipe_file(self._path(name), data)

    def remove(self, names: list[str]) -> None:
        """Remove objects; those that are gone already are fine."""
        for name in names:
            with self._told("remove"), contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _created(self, name: str, data: bytes) -> bool:
        with self._told("write"):
            try:
                self._files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def _check_exclusive(self) -> None:
        """Raise UsageError, once, for a store that lets a second writer overwrite what it should have left."""
        if self._is_exclusive:
            return
        name = f".bench-{uuid.uuid4().hex}"
        try:
            won = [self._created(name, text) for text in (b"first", b"second")]
        finally:
            with contextlib.suppress(BenchError):
                self.remove([name])
        if won != [True, False]:
            raise UsageError(
                f"{self.url} does not keep what is there from being overwritten (no exclusive creates), so that "
                "several writers would spoil each other's work: use another store, or a folder"
            )
        self._is_exclusive = True

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """The errors of whichever client as one sentence."""
        try:
            yield
        except BenchError:
            raise
        except (FileNotFoundError, FileExistsError):
            if what != "write":
                raise
            raise MissingError(f"cannot {what} {self.url}: there is no such bucket or container") from None
        except Exception as error:  # each client has errors of its own
            said = one_line(str(error))[:200] or type(error).__name__
            raise MissingError(
                f"cannot {what} {self.url} ({said}): check the address, the credentials and the network"
            ) from None
