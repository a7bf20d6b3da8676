"""All in this process, one thing after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.runtime.progress import Progress

if TYPE_CHECKING:
    from bench.engines.engine import Engine
    from bench.generation.loaded import Settings
    from bench.store.run_store import RunStore
    from bench.suite.plan import RunPlan
    from bench.suite.schema import Suite


class LocalEngine:
    """As `bench.engines.engine.Engine` says."""

    def generate(
        self,
        plans: Sequence[RunPlan],
        suite: Suite,
        stores: Sequence[RunStore],
        settings: Settings,
        progress: Progress | None,
    ) -> int:
        """`bench.generation.generate`."""
        from bench.generation.generate import generate

        return generate(plans, suite, stores, settings, progress)

    def score(self, stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
        """`bench.scoring.score`."""
        from bench.scoring.score import score

        return score(stores, suite, device=device, progress=progress)

    def close(self) -> None:
        """Nothing was started."""


LOCAL: Engine = LocalEngine()
