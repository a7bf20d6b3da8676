"""Public prompt sets that people evaluate on: facts only, the prompts themselves are not shipped."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).parent / "catalogue.toml"


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One public prompt set.

    `hub` is the Hugging Face dataset id ("" when it is not published there), `revision` and `sha256` pin it ("" as long
    as nobody verified them), `count` is its number of prompts, `licence` as stated by its authors ("" when unknown).
    """

    name: str
    title: str
    count: int
    hub: str = ""
    revision: str = ""
    licence: str = ""
    sha256: str = ""
    note: str = ""


def public_sets() -> dict[str, PublicSet]:
    """All rows of `catalogue.toml` by name."""
    rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: PublicSet(name=name, **facts) for name, facts in rows.items()}
