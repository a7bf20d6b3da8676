"""The image files in a folder of others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import counted

ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".jxl"}
)


def image_names(folder: Path) -> tuple[list[str], list[str]]:
    """The image files in a folder and its subfolders, relative and with slashes, sorted; and macOS's files about them.

    Raises UsageError for a symbolic link that leaves the folder.
    """
    inside = folder.resolve()
    names, hidden = [], []
    for path in _walk(folder):
        if path.suffix.lower() not in ENDINGS:
            continue
        if path.name.startswith("._"):
            hidden.append(path.relative_to(folder).as_posix())
            continue
        if _leads_out(path, inside):
            raise _leaves(path, folder)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not a regular file"
            raise UsageError(f"{path} is {what}, but an image is expected under that name: remove or rename it")
        names.append(path.relative_to(folder).as_posix())
    return sorted(names), sorted(hidden)


def _walk(folder: Path) -> Iterator[Path]:
    inside = folder.resolve()
    for root, folders, files in os.walk(folder):
        here = Path(root)
        for name in folders:
            if (here / name).suffix.lower() in ENDINGS:
                yield here / name  # refused by what it is
            if _leads_out(here / name, inside):
                raise _leaves(here / name, folder)
        yield from (here / name for name in files)


def _leads_out(path: Path, inside: Path) -> bool:
    """Whether a path is a symbolic link to somewhere else. Raises UsageError for one that leads back to itself."""
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(inside)
    except (RuntimeError, OSError):
        raise UsageError(f"{path} is a symbolic link that leads back to itself: remove it") from None


def _leaves(path: Path, folder: Path) -> UsageError:
    return UsageError(f"{path} is a symbolic link that leaves {folder}: copy what it points to into the folder")


def count_of(things: Sequence[Any], what: str) -> str:
    """ "1 file is", "3 files are"."""
    return f"{counted(len(things), what)} {'is' if len(things) == 1 else 'are'}"


def some_of(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
