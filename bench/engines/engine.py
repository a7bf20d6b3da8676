"""What executes planned work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bench.runtime.progress import Progress

if TYPE_CHECKING:
    from bench.generation.loaded import Settings
    from bench.store.run_store import RunStore
    from bench.suite.plan import RunPlan
    from bench.suite.schema import Suite

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Makes images and values. Each engine makes the same, to the bit; the caller holds the runs."""

    def generate(
        self,
        plans: Sequence[RunPlan],
        suite: Suite,
        stores: Sequence[RunStore],
        settings: Settings,
        progress: Progress | None,
    ) -> int:
        """Make the images of all plans (stores[n] is the run of plans[n]); returns how many were made now.

        Raises BenchError; what was finished stays.
        """

    def score(self, stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
        """Score the runs with the suite's metrics; returns how many values were made now.

        Raises BenchError, after the other metrics are scored.
        """

    def close(self) -> None:
        """End what was started for the work."""
