"""Finds the line of a table or a key in the text of a TOML file: parsers of TOML do not tell it."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*(?:\[\[(?P<many>.+?)\]\]|\[(?P<one>[^\[\]\"']+|.*[\"'].*)\])\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*((?:\"[^\"]*\"|'[^']*'|[\w.\-\s])+?)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")


def line_of(text: str, table: tuple[str, ...], key: str | None = None, nth: int = 0) -> int:
    """Line number of a table's head, or of a key in it: also of dotted keys (a.b = 1) and inline ones (a = { b = 1 }).

    The table's own line, or 1, where the key is not found. Names may hold dots, quoted or not. `nth` counts tables of
    one name ([[name]]).
    """
    wanted = _pieces(table)
    goal = wanted + (_pieces((key,)) if key is not None else ())
    current: tuple[str, ...] = ()
    count, found, inline, inside = (
        -1,
        0,
        0,
        0,
    )  # exact heads so far, and lines: of the wanted head, of a key whose value
    for number, line in enumerate(text.splitlines(), 1):  # holds the goal, of the first thing below the table
        head = _HEADER.match(line)
        if head:
            current = _names(head["many"] or head["one"])
            if current == wanted:
                count += 1
                found = number if count == nth else found
        named = None if head else _KEY.match(line)
        path = current + _names(named[1]) if named else current
        if named and key is not None and path[: len(goal)] == goal and count in (nth, -1):
            return number
        if named and goal[: len(path)] == path and count in (nth, -1):
            inline = inline or number
        elif path != wanted and path[: len(wanted)] == wanted:
            inside = inside or number
    return found or inline or inside or 1


def _names(text: str) -> tuple[str, ...]:
    return _pieces(tuple(a or b or c for a, b, c in _PART.findall(text)))


def _pieces(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(piece for name in names for piece in name.split("."))
