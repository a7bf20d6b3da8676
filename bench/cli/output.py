"""Prints tables: drawn by rich on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.formatting import Table, plain, printable

if TYPE_CHECKING:
    from bench.store.run_store import RunStore


def say(text: object) -> None:
    """Print to standard output; control characters of names and paths are left out."""
    print(printable(str(text)))


def show(table: Table) -> None:
    """Print to standard output, fitted to the terminal where there is one."""
    if not sys.stdout.isatty():
        say(plain(table))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left", box=SIMPLE_HEAD)
    for column, name in enumerate(table.header):
        drawn.add_column(name, justify="right" if column in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


@contextlib.contextmanager
def showing_the_others() -> Iterator[None]:
    """Where some metrics failed: the table of the others, and then the error."""
    try:
        yield
    except BenchError as error:
        show_runs(error.stores)
        raise


def show_runs(stores: Sequence[RunStore]) -> None:
    """The table of freshly summarised runs, and where they are."""
    from bench.analysis.table.build import build
    from bench.analysis.table.caveats import FAILED
    from bench.reporting.tables import WIDTH, text
    from bench.store.runs import read_run

    if stores:
        table = build([read_run(store) for store in stores])
        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
        say(text(table, max(WIDTH, wide)).rstrip())
        for note in (note for note in table.notes if FAILED in note):
            say(note)
    for store in stores:
        say(f"run: {store.path}")
