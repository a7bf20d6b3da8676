"""The folder of a report: written anew beside the old one, and swapped with it when it is whole.

A folder that no report made is never touched. What else lies in the folder of a report (a user's notes) stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.reporting.image_folder import MARK, in_the_way
from bench.store.atomic import make_folder, sync_folder, write_error
from bench.store.leftovers import clean_leftovers, temporary_name

NAMES = frozenset(
    {"index.html", "index_files", "pareto.png", "pareto.svg", "pareto.pdf", "gallery.png"}
    | {"leaderboard.csv", "history.csv", "records"}
    | {"plot.png", "plot.svg", "plot.pdf"}
    | {"table.md", "table.csv", "table.tex", "differences.csv", "scores.csv"}
    | {"methods.csv", "pairs.csv", "ranks.csv", "robust.csv", "profiles.csv", "tags.csv"}
)
"""What reports write; the next report replaces or removes it."""
REPORT = b'<meta name="generator" content="imagerefl-bench, '
LEADERBOARD = b'<meta name="generator" content="imagerefl-bench leaderboard'
"""How the page of a report and that of a leaderboard begin: neither is written over the other."""
_HEAD = 16_384
_EARLIER = ("table.md", "table.csv", "scores.csv", "pareto.svg")  # reports of versions whose page said nothing


def check_folder(out: Path, mark: bytes = REPORT) -> None:
    """UsageError for a place where something lies that no report (or whatever `mark` is of) made."""
    out = _real(out)
    _recover(out)
    if out.is_dir() and (_is_report(out, mark) or not _content(out)):
        return
    if out.exists():
        raise in_the_way(out, "report" if mark == REPORT else "leaderboard")


@contextlib.contextmanager
def fresh_folder(out: Path, mark: bytes = REPORT) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends without an error; else `out` stays as it was.

    Raises UsageError: `out` was not made by a report, or cannot be written.
    """
    check_folder(out, mark)
    out = _real(out)
    make_folder(out.parent)
    clean_leftovers(out.parent, deep=False)
    fresh = temporary_name(out)
    try:
        make_folder(fresh)
        yield fresh
        _carry_over(out, fresh)
        _swap(out, fresh)
    except OSError as error:
        raise write_error(out, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _real(out: Path) -> Path:
    """Where a link points to: the folder behind it is replaced, and the link stays."""
    return Path(os.path.realpath(out))


def _content(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _is_report(folder: Path, mark: bytes) -> bool:
    try:
        with (folder / "index.html").open("rb") as stream:
            if mark in stream.read(_HEAD):
                return True
    except OSError:
        pass
    return mark == REPORT and all((folder / name).is_file() for name in _EARLIER)


def _carry_over(out: Path, fresh: Path) -> None:
    """Give what is not a report's to the new folder as well, so that there is no moment without it."""
    if not out.is_dir():
        return
    for path in _content(out):
        foreign_images = path.name == "index_files" and path.is_dir() and not (path / MARK).is_file()
        if foreign_images and (fresh / path.name).exists():
            raise in_the_way(path)
        if path.name in NAMES and not foreign_images:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, fresh / path.name, symlinks=True, copy_function=_link)
        else:
            _link(path, fresh / path.name)


def _link(source: str | Path, target: str | Path) -> None:
    """A second name of a file, or a copy where that cannot be."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _before(out: Path) -> Path:
    return out.with_name(f".{out.name}.before-report")


def _swap(out: Path, fresh: Path) -> None:
    before = _before(out)
    if out.exists():
        out.rename(before)
    try:
        fresh.rename(out)
    except OSError:
        if before.exists():
            before.rename(out)
        raise
    sync_folder(out.parent)
    shutil.rmtree(before, ignore_errors=True)


def _recover(out: Path) -> None:
    """Put back what a kill in the middle of a swap left beside; after the swap it is of no use any more."""
    before = _before(out)
    if not before.exists():
        return
    if out.exists():
        shutil.rmtree(before, ignore_errors=True)
    else:
        before.rename(out)
