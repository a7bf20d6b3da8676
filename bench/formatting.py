"""Text for people: aligned columns, one line of untrusted text, Markdown cells, names that are safe as files. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from metrics.markdown import markdown_table as markdown_table


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows and columns; `right` holds the indices of right-aligned columns."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[int] = frozenset()


_GAP = 2  # blanks between columns
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_safe_name(name: str) -> bool:
    """Whether `name` may be a file name: 1 to 100 of A-Z a-z 0-9 . _ -, first a letter or digit, and no '..'."""
    return _SAFE_NAME.fullmatch(name) is not None and ".." not in name


def counted(number: int, thing: str) -> str:
    """ "1 prompt", "3,200 prompts"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


_TEXT_WIDTH = 60


def one_line(text: str) -> str:
    """Untrusted text on one line, without control characters: it can neither begin a line nor steer a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def printable(text: str) -> str:
    """Untrusted text of several lines without other control characters: it cannot steer a terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


_ABSOLUTE = re.compile(r"(?<![\w/:.~\\])(?:~?/|[A-Za-z]:\\)[^\s'\"`,;:()\[\]<>]*[/\\](?=[^\s'\"`,;:()\[\]<>/\\])")


def without_folders(text: str) -> str:
    """The text with the last part of each absolute path alone: where files lie on a machine is nobody else's business.

    >>> without_folders("the weights '/home/me/out/unet' of https://example.org/a/b")
    "the weights 'unet' of https://example.org/a/b"
    """
    return _ABSOLUTE.sub("", text)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(text: str) -> str:
    """A text for a cell of CSV that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def shorten(text: str) -> str:
    """On one line, cut to what a terminal shows."""
    text = one_line(text)
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 3]}..."


def escape_markdown(text: str) -> str:
    """Untrusted text as literal text in a Markdown table cell: no markup, link, image, mention or reference."""
    for char in "\\`*_|$~[]!#":
        text = text.replace(char, f"\\{char}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Services look for mentions (@name) and references (#1) in the rendered text, where no escape is left to see.
    text = _REFERENCE.sub(r"\1<!-- -->", text)
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


_REFERENCE = re.compile(r"(?<!\w)(@|\\#)(?=\w)")


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns of plain text: the first `left` ones to the left, the others to the right."""
    return "\n".join(_columns([head, *rows], right=range(left, len(head)))) + "\n"


def plain(table: Table) -> str:
    """The table as aligned text under a ruled head, two spaces between columns, no trailing blanks."""
    widths = _widths([table.header, *table.rows])
    lines = _columns([table.header, ["-" * width for width in widths], *table.rows], table.right)
    return "\n".join([table.title, *lines] if table.title else lines)


def fitted(table: Table, width: int) -> str:
    """As `plain`, in lines of at most `width` characters where words allow it; no word, name or number is broken.

    Cells go over several lines, the widest columns first; where a column's longest word leaves no room, each row is a
    block of lines `column: cell` under its first cell.
    """
    rows = [table.header, *table.rows]
    widths = _widths(rows)
    least = [
        max((len(word) for row in rows for word in row[column].split()), default=0) for column in range(len(widths))
    ]
    room = width - _GAP * (len(widths) - 1)
    if sum(widths) <= room:
        return plain(table)
    if sum(least) > room:
        return "\n".join([*([table.title] if table.title else []), *_blocks(table, width)])
    while sum(widths) > room:
        widest = max(
            (column for column in range(len(widths)) if widths[column] > least[column]), key=lambda i: widths[i]
        )
        widths[widest] -= 1
    lines: list[str] = [table.title] if table.title else []
    for number, row in enumerate([table.header, tuple("-" * one for one in widths), *table.rows]):
        cells = [_wrapped(cell, one) for cell, one in zip(row, widths, strict=True)]
        height = max(map(len, cells))
        for line in range(height):
            parts = [cell[line] if line < len(cell) else "" for cell in cells]
            aligned = (
                part.rjust(one) if column in table.right else part.ljust(one)
                for column, (part, one) in enumerate(zip(parts, widths, strict=True))
            )
            lines.append((" " * _GAP).join(aligned).rstrip())
        if height > 1 and 0 < number <= len(table.rows):
            lines.append("")
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, max(1, width), break_long_words=False, break_on_hyphens=False, subsequent_indent=indent
    ) or [""]


def _blocks(table: Table, width: int) -> list[str]:
    lines = []
    for row in table.rows:
        lines += _wrapped(row[0], width, "  ")
        for name, cell in zip(table.header[1:], row[1:], strict=True):
            if cell:
                lines += [f"  {line}" for line in _wrapped(f"{name}: {cell}", width - 2, "  ")]
    return lines


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _columns(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    widths = _widths(rows)
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
