"""Prints tables: fitted to a terminal, with a line for each row elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.formatting import Table, fitted, plain, printable

if TYPE_CHECKING:
    from bench.store.run_store import RunStore


def say(text: object) -> None:
    """Print to standard output; control characters of names and paths are left out."""
    print(printable(str(text)))


def say_verdicts(text: str) -> None:
    """Print text with verdicts or marks, in colour where the terminal has it."""
    from bench.cli.colour import coloured, colours

    text = printable(text)
    print(coloured(text) if colours() else text)


def show(table: Table) -> None:
    """Print to standard output, fitted to the terminal where there is one."""
    if not sys.stdout.isatty():
        say(plain(table))
        return
    say(fitted(table, shutil.get_terminal_size().columns))


@contextlib.contextmanager
def showing_the_others() -> Iterator[None]:
    """Where some metrics failed: the table of the others, and then the error."""
    try:
        yield
    except BenchError as error:
        show_runs(error.stores)
        raise


def check_track(tracker: str | None) -> None:
    """Before the work: raises UsageError or MissingError for a tracker that is unknown or not installed."""
    if tracker is not None:
        from bench.reporting.export.trackers import check_tracker

        check_tracker(tracker)


def track_runs(stores: Sequence[RunStore], tracker: str | None) -> None:
    """Log runs that were just finished to the tracker that was asked for, if any."""
    if tracker is not None and stores:
        import bench

        bench.track(stores, tracker)


def show_runs(stores: Sequence[RunStore], *, summarised: bool = False) -> None:
    """The table of runs, and where they are. `summarised`: their summaries were just made or verified."""
    from bench.reporting.brief import text_of_summaries
    from bench.reporting.tables import WIDTH

    wide = max(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH
    shown, told = text_of_summaries(stores, wide) if summarised else None, []
    if stores and shown is None:
        from bench.analysis.table.build import build
        from bench.analysis.table.caveats import FAILED
        from bench.reporting.tables import text
        from bench.store.runs import read_run

        table = build([read_run(store) for store in stores])
        shown, told = text(table, wide), [note for note in table.notes if FAILED in note]
    if shown is not None:
        say(shown.rstrip())
    for note in told:
        say(note)
    for store in stores:
        say(f"run: {store.path}")
