"""Prints tables: drawn by rich on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.formatting import Table, plain

if TYPE_CHECKING:
    from bench.store.run_store import RunStore


def show(table: Table) -> None:
    """Print to standard output, fitted to the terminal where there is one."""
    if not sys.stdout.isatty():
        print(plain(table))
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


def show_runs(stores: Sequence[RunStore], *, summarised: bool = False) -> None:
    """The table of runs, and where they are. `summarised`: their summaries were just made or verified."""
    from bench.reporting.brief import text_of_summaries

    shown = text_of_summaries(stores) if summarised else None
    if stores and shown is None:
        from bench.analysis.table.build import build
        from bench.reporting.tables import text
        from bench.store.runs import read_run

        shown = text(build([read_run(store) for store in stores]))
    if shown is not None:
        print(shown.rstrip())
    for store in stores:
        print(f"run: {store.path}")
