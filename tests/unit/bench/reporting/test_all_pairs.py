"""All pairs in print: 80 columns, every name and interval, Markdown without markup, CSV that reads back."""

from __future__ import annotations

import csv
import io
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.several import Several, compare_runs
from bench.reporting.all_pairs import WIDTH, pairs_csv, ranks_csv, several_markdown, several_text

plain = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "plain_runs.py"))["run"]
LONG = "combined-with-many-settings-and-a-name-that-no-terminal-shows-on-one-line-of-80-columns"
NAMES = ["base", "refl", LONG, "image|refl", "e", "f", "g", "h"]


def several(count: int, scale: float = 1.0, names: list[str] | None = None) -> Several:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(20, 1))
    chosen = (names or NAMES)[:count]
    runs = [
        plain(name, {"m": scale * (shared + number + 0.3 * rng.normal(size=(20, 1)))})
        for number, name in enumerate(chosen)
    ]
    return compare_runs(runs)


@pytest.mark.parametrize("count", [3, 5, 8])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
def test_text_holds_80_columns_and_loses_no_pair(count: int, scale: float) -> None:
    found = several(count, scale)
    text = several_text(found)
    assert max(map(len, text.splitlines())) <= WIDTH
    head = text.split("\n\n")[0].replace("\n   ", "").splitlines()
    assert [line.split(maxsplit=1)[1].replace("- ", "-") for line in head] == NAMES[:count]
    block = text.split("m ↑\n")[1].split("\nRow minus column")[0]
    pairs = count * (count - 1) // 2
    assert block.count("[") == pairs + count
    assert block.count("▲") == pairs  # the best stands first


def test_text_says_what_it_shows() -> None:
    text = several_text(several(3))
    assert "3 differences" in text
    for word in ("rank", "letters", "may be the best", "Holm", "interval excludes zero"):
        assert word in text.replace("\n", " ")


def test_markdown_is_literal_text_and_has_a_table_a_metric() -> None:
    text = several_markdown(several(4, names=["<b>base</b>", "a|b", "c*d", "[e](f)"]))
    assert "<b>" not in text
    assert "a\\|b" in text
    assert text.count("| method | mean | rank | letters |") == 1
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_csv_reads_back() -> None:
    found = several(3)
    pairs = list(csv.DictReader(io.StringIO(pairs_csv(found.metrics))))
    ranks = list(csv.DictReader(io.StringIO(ranks_csv(found.metrics))))
    assert len(pairs) == 3 == len(ranks)
    assert float(pairs[0]["difference"]) == pytest.approx(float(pairs[0]["b"]) - float(pairs[0]["a"]), rel=1e-4)
    assert {row["sure"] for row in pairs} == {"yes"}
    assert [row["rank_best"] for row in ranks] == ["1", "2", "3"]
    assert [row["maybe_best"] for row in ranks] == ["yes", "", ""]


def test_control_characters_of_a_name_stay_out_of_the_terminal() -> None:
    text = several_text(several(3, names=["base", "re\x1b[31mfl\n2", "c"]))
    assert "\x1b" not in text
    assert "re [31mfl 2" in text
