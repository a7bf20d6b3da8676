"""sha256 of files, computed once: what was hashed is remembered on disk while the file stays what it is.

An entry holds for a path as long as size, both times of change and inode are those that were seen. Files that changed
just before they were hashed are not remembered: a second change could leave the same times. The folder may
be deleted at any time; entries that are damaged are hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VARIABLE = "BENCH_DIGEST_CACHE"
"""A folder for the digests of weights, or "off"; otherwise `imagerefl-bench/digests` in the user's cache folder."""
FORMAT = 1
YOUNG_NS, YOUNG_COARSE_NS = 50_000_000, 2_000_000_000
_BLOB = re.compile(r"[0-9a-f]{64}")
_known: dict[tuple[str, tuple[int, ...]], str] = {}

Entry = list[Any]
"""[size, mtime_ns, ctime_ns, inode, sha256]"""


class DigestCache:
    """Digests of files, in one JSON file a folder of them; None keeps them only while the program runs.

    `trust=False` hashes every file anew, and remembers what it finds.
    """

    def __init__(self, folder: Path | None, trust: bool = True) -> None:
        self._folder = folder
        self._trust = trust

    def digests(self, base: Path, names: Iterable[str]) -> dict[str, str | OSError]:
        """sha256 (64 hex digits) of the files `base/name`, or why one cannot be read; only regular files are."""
        home = base.resolve()
        shard = None if self._folder is None else self._folder / f"{_short(str(home))}.json"
        entries = _load(shard, home) if shard is not None and self._trust else {}
        found: dict[str, str | OSError] = {}
        kept: dict[str, Entry] = {}
        for name in names:
            try:
                found[name], entry = self._one(home / name, entries.get(name))
            except OSError as error:
                found[name] = error
                continue
            if entry is not None:
                kept[name] = entry
        if shard is not None and any(entries.get(name) != entry for name, entry in kept.items()):
            _save(shard, home, entries | kept)
        return found

    def _one(self, path: Path, entry: Entry | None) -> tuple[str, Entry | None]:
        facts = _facts(path)
        key = (str(path), facts)
        if self._trust and entry is not None and tuple(entry[:4]) == facts:
            return str(entry[4]), entry
        if self._trust and key in _known:
            return _known[key], [*facts, _known[key]]
        young = _young(facts)
        digest = _hashed(path)
        if young or _facts(path) != facts:
            return digest, None
        _known[key] = digest
        return digest, [*facts, digest]


def file_digest(path: Path) -> str:
    """sha256 of a file (64 hex digits), from the user's cache where it is known. Raises OSError.

    In the hub's cache a large file links to a blob that is named by its sha256, which was compared when it arrived.
    """
    real = path.resolve()
    if path.is_symlink() and real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
        return real.name
    found = user_cache().digests(real.parent, [real.name])[real.name]
    if isinstance(found, OSError):
        raise found
    return found


def user_cache() -> DigestCache:
    """The digests of weights of this user, shared by models and metrics."""
    asked = os.environ.get(VARIABLE, "").strip()
    if asked.lower() in ("0", "off", "no", "false"):
        return DigestCache(None)
    if asked:
        return DigestCache(Path(asked))
    home = os.environ.get("XDG_CACHE_HOME", "").strip()
    with contextlib.suppress(RuntimeError):  # a user without a home
        return DigestCache((Path(home) if home else Path.home() / ".cache") / "imagerefl-bench" / "digests")
    return DigestCache(None)


def _hashed(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _young(facts: tuple[int, ...]) -> bool:
    """Whether a file changed so lately that a second change could leave the same times."""
    coarse = facts[1] % 1_000_000 == 0 or facts[2] % 1_000_000 == 0  # a file system that counts seconds
    return time.time_ns() - max(facts[1:3]) < (YOUNG_COARSE_NS if coarse else YOUNG_NS)


def _facts(path: Path) -> tuple[int, ...]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(21 if stat.S_ISDIR(status.st_mode) else 22, "it is not a regular file", str(path))
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _clean(folder: Path) -> None:
    """Remove what killed processes left. A living one of another machine hashes again at worst."""
    for path in folder.glob(".*.tmp"):
        pid = path.name.split(".")[-2].partition("-")[0]
        if not pid.isdigit() or not _is_alive(int(pid)):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _load(shard: Path, home: Path) -> dict[str, Entry]:
    """The entries of a folder; none, with a word, where they are damaged or of another folder."""
    try:
        _clean(shard.parent)
        if not shard.is_file():
            return {}
        data = json.loads(shard.read_text(encoding="utf-8"))
        content = data["content"]
        if data["sha256"] != _seal(content):
            raise ValueError("its sha256 is another")
        if content["format"] != FORMAT or content["folder"] != str(home):
            return {}
        return dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning(f"{shard} is damaged ({error}); its files are hashed again")
        return {}


def _save(shard: Path, home: Path, entries: Mapping[str, Entry]) -> None:
    """Replace the entries of a folder; where that is refused, the files are hashed again next time."""
    content = {"format": FORMAT, "folder": str(home), "files": dict(entries)}
    temporary = shard.with_name(f".{shard.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        shard.parent.mkdir(parents=True, exist_ok=True)
        _clean(shard.parent)
        text = json.dumps({"content": content, "sha256": _seal(content)})
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        os.replace(temporary, shard)
    except OSError as error:
        logger.debug(f"digests are not remembered in {shard}: {error}")
        with contextlib.suppress(OSError):
            temporary.unlink()
