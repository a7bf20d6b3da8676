"""Names of files and folders in hub repositories."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HUB = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+?))?(?::(?P<inner>[^:\\]+))?"
)


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository of the hub, a revision (None: its default branch), and a file or folder inside (None: all of it).

    `patterns` are named in advice on how to fetch all of it.
    """

    repo: str
    revision: str | None = None
    inner: str | None = None
    dataset: bool = False
    patterns: tuple[str, ...] = ()

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{at}{':' + self.inner if self.inner else ''}"

    def command(self) -> str:
        """The command that puts it into the cache."""
        what = [f'--include "{pattern}"' for pattern in self.patterns]
        if self.inner:  # the command takes a folder by its slash
            what = [self.inner if Path(self.inner).suffix else f"{self.inner.strip('/')}/"]
        kind = ["--repo-type", "dataset"] if self.dataset else []
        revision = ["--revision", self.revision] if self.revision else []
        return " ".join(["hf download", self.repo, *what, *kind, *revision])


def parse(spec: str) -> HubName | None:
    """The parts of a hub name; None when `spec` is none."""
    match = _HUB.fullmatch(spec)
    if match is None or ".." in (match["inner"] or "").split("/"):
        return None
    return HubName(match["repo"], match["revision"], match["inner"])
