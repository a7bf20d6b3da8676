"""Names of the files of a study, and how its JSON Lines are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError

DATABASE, VOTES, ITEMS, MANIFEST = "study.db", "votes.jsonl", "items.jsonl", "study.json"
PLAN, ASSETS, KEY, NAMED = "plan.jsonl", "assets", "study.key", "study.database"


def read_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON Lines file. UsageError names the line that is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    # not splitlines: a prompt may hold the other characters that Python takes for ends of lines
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file}, line {number} is not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise UsageError(f"{file}, line {number} must be a JSON object")
        yield row
