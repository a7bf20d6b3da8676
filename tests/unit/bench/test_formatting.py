from __future__ import annotations

import pytest

from bench.formatting import Table, aligned, escape_markdown, markdown_table, plain


def test_a_markdown_table_is_aligned_and_keeps_its_cells() -> None:
    rows = [("base", "1.5"), ("a|b", r"c\|d")]
    assert markdown_table(("method", "m"), rows, right={1}) == [
        "| method | m |",
        "| :--- | ---: |",
        "| base | 1.5 |",
        r"| a\|b | c\|d |",
    ]
    assert markdown_table(("method",), []) == ["| method |", "| :--- |"]


def test_untrusted_text_stays_in_its_cell() -> None:
    (line,) = markdown_table(("x",), [[escape_markdown("a|b [link](u) @name\n| c")]])[2:]
    assert line.replace("\\|", "").count("|") == 2
    assert "[link]" not in line


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        markdown_table(("a", "b"), [("only",)])


def test_plain_and_aligned_text_share_their_columns() -> None:
    table = Table(("name", "n"), (("base", "1"), ("imagerefl", "160")), title="Runs", right=frozenset({1}))
    assert plain(table).splitlines() == ["Runs", "name         n", "---------  ---", "base         1", "imagerefl  160"]
    assert aligned(table.header, table.rows).splitlines() == ["name         n", "base         1", "imagerefl  160"]
    assert plain(Table(("name", "n"), ())) == "name  n\n----  -"
