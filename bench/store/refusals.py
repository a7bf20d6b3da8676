"""Pictures that a server refused to make, with its reasons: their values are unscored for that reason.

`refused.json` in a run's folder maps "<prompt id>/<sample>" to the reason. Such a picture is not asked for again;
`bench run --resume never` asks for all anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.store.atomic import to_json
from bench.store.digests import read_protected, write_protected
from bench.store.records import SCHEMA_VERSION

NAME = "refused.json"
PROVENANCE = "endpoint"
"""Where a manifest's provenance says which server made the images, and what was found out about it."""
Key = tuple[str, int]


def read_refusals(folder: Path) -> dict[Key, str]:
    """(prompt id, sample) -> reason; {} where nothing was refused. Raises UsageError for a damaged file."""
    data = read_protected(folder / NAME)
    found: dict[Key, str] = {}
    for name, reason in dict((data or {}).get("refused") or {}).items():
        prompt_id, _, sample = name.rpartition("/")
        if not (is_safe_name(prompt_id) and sample.isdecimal() and isinstance(reason, str) and reason):
            raise UsageError(f"{folder / NAME} is damaged ('{name[:60]}'): delete it, and run the same command again")
        found[prompt_id, int(sample)] = reason
    return found


def add_refusals(folder: Path, new: Mapping[Key, str]) -> None:
    """Add pictures that were refused; the caller holds the run."""
    if new:
        known = read_refusals(folder) | dict(new)
        listed = {f"{key[0]}/{key[1]}": known[key] for key in sorted(known)}
        write_protected(folder / NAME, to_json({"schema_version": SCHEMA_VERSION, "refused": listed}))
