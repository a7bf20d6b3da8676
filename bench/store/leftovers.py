"""Names of temporary files that say whose they are, and the removal of those that a killed process left.

A name is `.<name>.<machine>-<pid>-<start>.<random>.tmp`: `machine` stands for the host since its last boot, and `start`
is when the process began, since a pid is used again. So whoever cleans up can tell a leftover from a file that another
process is writing at this moment, without a lock. What that cannot be told of (another host on a shared file system, or
a name by an older version of bench) is left alone until it is old.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from pathlib import Path

OLD_SECONDS = 24 * 3600.0
"""A temporary file lives for the moment of one write; one of this age belongs to nobody."""
_LONGEST = 100  # bytes of the name: the whole stays below the 255 that file systems allow
_NAME = re.compile(
    r"\..*?\.(?:(?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,19})-(?P<start>[0-9]{1,19})\.)?[0-9a-f]{32}\.tmp", re.DOTALL
)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process has, hidden, and recognised by `clean_leftovers`."""
    kept = os.fsencode(path.name)[:_LONGEST].decode("utf-8", "ignore")
    pid = os.getpid()
    return path.with_name(f".{kept}.{_machine()}-{pid}-{_own_start(pid)}.{uuid.uuid4().hex}.tmp")


def clean_leftovers(folder: Path, *, deep: bool = True) -> int:
    """Remove temporary files (and folders on their way out) that processes left in `folder`; returns their number.

    Never removes what a living process of this machine is writing, nor a file that `temporary_name` did not name.
    With `deep=False`, folders in `folder` are not searched.
    """
    found = folder.rglob(".*.tmp") if deep else folder.glob(".*.tmp")
    leftovers = [path for path in found if _is_leftover(path)]
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return len(leftovers)


def _is_leftover(path: Path) -> bool:
    named = _NAME.fullmatch(path.name)
    if named is None:
        return False
    if named["machine"] == _machine():
        return not _is_alive(int(named["pid"]), int(named["start"]))
    try:
        return time.time() - path.lstat().st_mtime > OLD_SECONDS
    except OSError:  # gone meanwhile
        return False


@functools.cache
def _machine() -> str:
    """Within one machine (8 hex digits), a pid names a process: the host's name, its boot, the container's pids."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _is_alive(pid: int, start: int) -> bool:
    """Whether that very process lives. A zombie does not: it writes nothing any more."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's: it is there
        pass
    now = _start(pid)
    return now is None or now == start


@functools.lru_cache(maxsize=1)
def _own_start(pid: int) -> int:
    """The start of this process; `pid` is the key, since a fork is another process."""
    return _start(pid) or 0


def _start(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; -1 for a zombie, None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        # The command's name stands in parentheses and may hold anything, so counting begins behind the last one.
        state, *fields = text[text.rindex(b")") + 1 :].split()
        return -1 if state in (b"Z", b"X") else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None
