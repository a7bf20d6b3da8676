"""The files that CONTRIBUTING.md names are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_named_files_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:bench|metrics|prompts|tests|docs|benchmarks)/[\w./-]+)`", text))
    assert len(paths) > 20
    # NAME and ID stand for what is added: the folder must be there
    lost = [path for path in paths if not (ROOT / path).exists() and not ("NAME" in path or "ID." in path)]
    lost += [path for path in paths if ("NAME" in path or "ID." in path) and not (ROOT / path).parent.is_dir()]
    assert lost == []


def test_the_table_counts_what_it_lists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (an? [\w ]+) \| (\d) \| (.*) \|$", text, re.M)
    counts = {what: (int(count), len(re.findall(r"`[\w./]+/[\w./]+`", files))) for what, count, files in rows}
    most = {"a metric": 4, "a method": 1, "a model family": 3, "a command": 3, "a section of the report": 4}
    assert {what: (count, count) for what, count in most.items()} == counts
