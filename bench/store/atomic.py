"""Writing files so that a kill, a crash or a full disk never leaves half of one, and reading them back.

`bench.store.run_store` says which files there are; this module only knows how to write and read one. Everything is
written whole to a temporary name in the same folder (see `bench.store.leftovers`), flushed to the disk, and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError, system_reason
from bench.store.leftovers import clean_leftovers, temporary_name

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space and run again, what is finished is kept",
    errno.EDQUOT: "the disk quota is used up: free some space and run again, what is finished is kept",
    errno.EACCES: "permission denied: choose a folder you may write to",
    errno.EPERM: "permission denied: choose a folder you may write to",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another folder",
    errno.EEXIST: "a part of that path is a file, not a folder: choose another folder",
    errno.EISDIR: "a folder of that name exists, which has to be moved or removed",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
MISSING = "missing"
"""What `image_fault` says of an image that is not there."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"


def write_error(path: Path, error: OSError) -> UsageError:
    """The sentence for an operating system's refusal to write `path`."""
    why = _ADVICE.get(error.errno or 0, system_reason(error))
    return UsageError(f"cannot write {path}: {why}")


def make_folder(path: Path) -> Path:
    """Create `path` and its parents if need be. Raises UsageError when that is refused."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from None
    return path


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder (a rename is durable only after this). Nothing happens where that is unknown."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open folders, and has no need to
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise write_error(path, error) from None
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: bytes | str, *, sync: bool = True) -> None:
    """Write `path` whole or not at all; missing folders are made. With `sync=False` the folder is not flushed.

    Raises UsageError (one sentence) when the system refuses, for instance on a full disk; no temporary file is left.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    with replacing(path, sync=sync) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_output(path: Path, data: bytes | str) -> None:
    """As `atomic_write`, of a file outside of a run; what killed processes left beside it is removed."""
    clean_leftovers(path.parent, deep=False)
    atomic_write(path, data)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which is gone when the block ends. UsageError when the system refuses."""
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        yield temporary
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        # Also after a rename: one between two links of one file is defined to do nothing, and leaves it there.
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` when the block ends, and is removed when it fails.

    Missing folders are made. Raises UsageError (one sentence) when the system refuses.
    """
    with _beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)
    if sync:
        sync_folder(path.parent)


def link_or_copy(source: Path, path: Path) -> None:
    """Give the file a second name, or copy it where that cannot be. Raises UsageError when the system refuses."""
    with replacing(path, sync=False) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)


def place_once(path: Path, data: bytes) -> None:
    """Write a file that others may be writing too: whoever is first has made it, and the others must have the same.

    It appears whole, by an exclusive link (or where there are no hard links, by a rename if nobody was seen before).
    Raises UsageError with both digests for a file of other content, and when the system refuses.
    """
    with _beside(path) as temporary:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            _same_content(path, data)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                _same_content(path, data)
            else:
                os.replace(temporary, path)


def _same_content(path: Path, data: bytes) -> None:
    there, here = sha256_file(path), hashlib.sha256(data).hexdigest()
    if there != here:
        raise UsageError(
            f"{path} was made twice and differs: its sha256 is {there}, that of the second {here}; use workers of "
            "one kind (device, libraries) for a run, or remove the file and run again"
        )


def remove_folder(folder: Path) -> None:
    """Remove a folder, at once for whoever looks; none is fine. Raises UsageError when the system refuses."""
    gone = temporary_name(folder)
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error(folder, error) from None
    shutil.rmtree(gone, ignore_errors=True)


def remove_damaged(path: Path) -> bool:
    """Remove a file, or a folder in its place; False where the system refuses, for instance in a read-only folder."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def opened(path: Path) -> io.BufferedReader:
    """A regular file, open for reading. OSError for anything else: a pipe would keep its reader waiting for good."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises OSError, see `opened`."""
    with opened(path) as file:
        return file.read()


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, as 64 hex digits."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(data: Any) -> str:
    """Readable JSON in which numbers that are not finite are null."""
    return json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None when there is no file. Raises UsageError when it is not a JSON object."""
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    return parse_json(data, path)


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """The object in the bytes of a JSON file. Raises UsageError for anything else, however deeply nested."""
    why = "not a JSON object"
    try:
        found = json.loads(data.decode("utf-8"))
    except RecursionError:
        found, why = None, "nested too deeply"
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged ({why}): delete it or its folder, and run again")
    return found


def png_bytes(pixels: Any) -> bytes:
    """uint8 pixels [3, H, W] or a PIL image as a lossless PNG file. Raises ValueError on any other shape or type."""
    from PIL import Image

    if not isinstance(pixels, Image.Image):
        import numpy as np

        array = np.asarray(pixels)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] != 3:
            raise ValueError(f"expected uint8 pixels [3, H, W], got {array.dtype} {list(array.shape)}")
        pixels = Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    pixels.save(buffer, format="PNG")
    return buffer.getvalue()


def image_fault(path: Path, sha256: str) -> str | None:
    """Why the file is not the recorded image, None when it is."""
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if hashlib.sha256(data).hexdigest() == sha256:
        return None
    if not data.startswith(_PNG_START):
        return "not a PNG file"
    return "foreign (not what this run wrote)" if data.endswith(_PNG_END) else "truncated"
