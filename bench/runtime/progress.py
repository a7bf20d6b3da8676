"""Progress protocol: stages report, the CLI renders."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One stage at a time: `start`, `advance` for each unit really done (not for what was found done), `finish`."""

    def start(self, stage: str, total: int) -> None:
        """Begin `stage` of `total` units that are still to do. A stage with nothing to do need not be started."""

    def advance(self, n: int = 1) -> None:
        """`n` more units are done."""

    def finish(self) -> None:
        """The stage that was started last is over, complete or not."""


class Silent:
    """Says nothing: the default of the Python API."""

    def start(self, stage: str, total: int) -> None:
        """Ignored."""

    def advance(self, n: int = 1) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""
