"""Finds the line of a table or a key in the text of a TOML file: parsers of TOML do not tell it."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*(?:\[\[(?P<many>.+?)\]\]|\[(?P<one>[^\[\]\"']+|.*[\"'].*)\])\s*(?:#.*)?$")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")


def line_of(text: str, table: tuple[str, ...], key: str | None = None, nth: int = 0) -> int:
    """Line number of a table's head, or of a key in it; the table's own line, or 1, where it is written otherwise.

    Names may hold dots, quoted or not. `nth` counts tables of one name ([[name]]).
    """
    wanted = _pieces(table)
    current: tuple[str, ...] = ()
    count, found, inside = -1, 0, 0  # exact heads so far, the wanted one's line, the first head below the table
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEADER.match(line)
        if head:
            parts = [a or b or c for a, b, c in _PART.findall(head["many"] or head["one"])]
            current = _pieces(tuple(parts))
            if current == wanted:
                count += 1
                found = number if count == nth else found
            elif current[: len(wanted)] == wanted:
                inside = inside or number
        elif key is not None and current == wanted and count in (nth, -1) and _is_key(line, key):
            return number
    return found or inside or 1


def _pieces(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(piece for name in names for piece in name.split("."))


def _is_key(line: str, key: str) -> bool:
    return re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line) is not None
