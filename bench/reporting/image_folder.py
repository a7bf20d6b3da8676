"""Writing the folder beside the page: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.errors import UsageError
from bench.store.atomic import make_folder, remove_folder, write_error
from bench.store.leftovers import clean_leftovers, temporary_name

MARK = "made-by-bench-report.txt"
_TEXT = "Images of the page beside this folder. `bench report` rewrites it each time.\n"


def in_the_way(path: Path, command: str = "report") -> UsageError:
    """The error for what lies where a report would be written."""
    return UsageError(f"{path} already exists and was not created by `bench {command}`; move it or pass another --out")


def replace_folder(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Make `folder` hold exactly `files` (name -> content, or a file to link or copy); without files, no folder.

    A folder that was not made by this function is never touched: UsageError.
    """
    if folder.exists() and not (folder / MARK).is_file():
        if files:
            raise in_the_way(folder)
        return
    clean_leftovers(folder.parent, deep=False)
    fresh = temporary_name(folder)
    try:
        if files:
            _fill(fresh, files)
        remove_folder(folder)
        if files:
            fresh.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fill(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    make_folder(folder)
    (folder / MARK).write_text(_TEXT, encoding="utf-8")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
            continue
        try:
            os.link(content, path)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(content, path)
