from __future__ import annotations

import pytest

from bench.cli.output import show
from bench.formatting import Table, plain

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
