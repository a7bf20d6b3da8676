"""Which engine is asked for, with what, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass

from bench.engines.engine import ENGINES
from bench.errors import MissingError, UsageError, unknown

MOST_WORKERS = 10_000
HOW_TO_GET_RAY = "pip install 'imagerefl-bench[ray]'"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which engine, and for Ray how many workers, on which cluster, with how many GPUs each (None: found)."""

    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus_per_worker: float | None = None

    def check(self) -> None:
        """UsageError for what does not go together, MissingError where Ray is not installed."""
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        given = {"workers": self.workers, "address": self.address, "gpus-per-worker": self.gpus_per_worker}
        for key, value in given.items():
            if value is not None and self.engine != "ray":
                raise UsageError(f"--{key} applies to --engine ray: add it, or omit --{key}")
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(f"--workers must be 1 to {MOST_WORKERS:,}, got {self.workers}")
        if self.gpus_per_worker is not None and not 0 <= self.gpus_per_worker <= 64:
            raise UsageError(
                f"--gpus-per-worker must be 0 to 64 (0.5: two workers share one), got {self.gpus_per_worker}"
            )
        if (self.gpus_per_worker or 0) > 1 and self.gpus_per_worker != int(self.gpus_per_worker or 0):
            raise UsageError(f"--gpus-per-worker above 1 must be a whole number, got {self.gpus_per_worker}")
        if self.engine == "ray":
            check_ray()


def check_ray() -> None:
    """MissingError where Ray is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingError(f"--engine ray needs the package ray: {HOW_TO_GET_RAY}")
