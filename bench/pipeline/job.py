"""A call of `bench run` that is planned: what to make, where, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.engines.engine import Engine
from bench.generation.loaded import Settings
from bench.pipeline.finish import completing, score_and_summarise
from bench.runtime.progress import Progress
from bench.store.names import give_name
from bench.store.run_store import RunStore
from bench.suite.plan import RunPlan
from bench.suite.schema import Suite


@dataclass(frozen=True, slots=True)
class Job:
    """`suites` are the one that images are made by, and the one with the metrics that are scored."""

    plans: Sequence[RunPlan]
    suites: tuple[Suite, Suite]
    stores: Sequence[RunStore]
    settings: Settings
    name: str | None
    progress: Progress | None


def complete(job: Job, engine: Engine) -> bool:
    """Make what is missing, score and summarise it, `complete` last; returns whether anything was made.

    The caller holds the runs.
    """
    suite, scoring = job.suites
    made = engine.generate(job.plans, suite, job.stores, job.settings, job.progress)
    if job.name is not None:
        give_name(job.stores[0], job.name, job.stores[0].path.parents[2])
    with completing(job.stores):
        values = score_and_summarise(job.stores, scoring, job.settings.device, job.progress, engine)
    return bool(made or values)
