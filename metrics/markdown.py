"""Tables of Markdown: the one writer for the pages, the report and the gate."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

_BARE_PIPE = re.compile(r"(?<!\\)\|")


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = frozenset()
) -> list[str]:
    """The lines of a table; the columns in `right` are aligned to the right, all others to the left.

    Cells are Markdown already: only a pipe, which would end the cell, is escaped where it is not. Escape text that is
    not trusted with `bench.formatting.escape_markdown` first. ValueError for a row of another length than the head.
    """
    rows = [list(row) for row in rows]
    wrong = next((row for row in rows if len(row) != len(head)), None)
    if wrong is not None:
        raise ValueError(f"a row of {len(wrong)} cells in a table of {len(head)} columns")
    rule = ["---:" if column in right else ":---" for column in range(len(head))]
    return ["| " + " | ".join(_BARE_PIPE.sub(r"\\|", cell) for cell in cells) + " |" for cells in [head, rule, *rows]]
