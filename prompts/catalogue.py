"""Public prompt sets that people evaluate on: facts only, the prompts themselves are not shipped."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

_FILE = Path(__file__).parent / "catalogue.toml"


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One public prompt set.

    `hub` is the Hugging Face dataset id or `git` the GitHub repository ("" when it is not published there), `revision`
    pins it, `files` maps the files that hold the prompts to their sha256 ("" as long as nobody verified them), `count`
    is the number of prompts, `licence` as stated by its authors ("" when unknown). `format` is lines, json, jsonl,
    tsv or csv, `key` names the text in each row and `tags` what is kept as tags (each element of a list); `unique`
    leaves out texts that came before.
    """

    name: str
    title: str
    count: int
    files: dict[str, str] = field(default_factory=dict)
    hub: str = ""
    git: str = ""
    revision: str = ""
    licence: str = ""
    format: str = "lines"
    key: str = ""
    tags: tuple[str, ...] = ()
    unique: bool = False
    note: str = ""

    @property
    def pinned(self) -> bool:
        """Whether a revision and the sha256 of every file are known."""
        return bool(self.revision) and bool(self.files) and all(self.files.values())

    @property
    def source(self) -> str:
        """Where it is published, in words."""
        where = f"{self.hub} on the Hugging Face hub" if self.hub else f"{self.git} on GitHub" if self.git else ""
        return where or "its authors"


def public_sets() -> dict[str, PublicSet]:
    """All rows of `catalogue.toml` by name."""
    rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {
        name: PublicSet(name=name, **{**facts, "tags": tuple(facts.get("tags", ()))}) for name, facts in rows.items()
    }
