from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.output import show
from bench.formatting import Table, fitted, plain

TABLE = Table(("name", "count"), (("a", "1"), ("longer", "200")), right=frozenset({1}))


def test_plain_is_aligned_without_trailing_blanks() -> None:
    assert plain(TABLE) == "name    count\n------  -----\na           1\nlonger    200"


def test_plain_of_nothing_still_has_a_head() -> None:
    assert plain(Table(("name", "title"), ())) == "name  title\n----  -----"


def test_no_terminal_no_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    show(TABLE)
    assert capsys.readouterr().out == plain(TABLE) + "\n"


def test_a_terminal_gets_the_same_cells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(Table(("name",), (("[red]not markup[/red]",),)))
    assert "[red]not markup[/red]" in capsys.readouterr().out


WIDE = Table(
    ("suite", "title", "count"),
    (("a-name-of-twenty-char", "some words that go on and on until they are long", "12,345"), ("b", "short", "1")),
    right=frozenset({2}),
)


def test_a_terminal_breaks_lines_between_words_alone() -> None:
    lines = fitted(WIDE, 50).splitlines()
    assert max(map(len, lines)) <= 50
    assert lines[2] == "a-name-of-twenty-char  some words that go   12,345"
    words = {word for row in (WIDE.header, *WIDE.rows) for cell in row for word in cell.split()}
    assert words <= set(" ".join(lines).split())
    assert fitted(WIDE, 200) == plain(WIDE)


def test_where_a_name_leaves_no_room_rows_are_blocks() -> None:
    assert fitted(WIDE, 30).splitlines() == [
        "a-name-of-twenty-char",
        "  title: some words that go on",
        "    and on until they are long",
        "  count: 12,345",
        "b",
        "  title: short",
        "  count: 1",
    ]


@given(
    st.lists(st.lists(st.text("ab -,1", max_size=40), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 120),
)
def test_no_word_is_broken_at_any_width(rows: list[list[str]], width: int) -> None:
    table = Table(("one", "two", "three"), tuple(tuple(row) for row in rows))
    words = {word for row in rows for cell in row for word in cell.split()}
    said = fitted(table, width)
    assert words <= set(said.split())
    longest = max(map(len, ["three:", *words]))
    assert max(map(len, said.splitlines()), default=0) <= max(width, longest + 5)
