"""`--shard i/n`: one process makes one share of the work; whoever is the last completes it. No cluster is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.engines.local import LOCAL
from bench.engines.options import EngineOptions
from bench.errors import UsageError
from bench.generation.shares import at_work, generate_share
from bench.pipeline.job import Job, complete
from bench.runtime.share import Share
from bench.scoring.shares import score_share
from bench.store.locks import last_one
from bench.store.run_store import RunStore
from bench.store.shared_store import SharedRunStore

logger = logging.getLogger(__name__)


def check_share(options: EngineOptions, resume: str, until: str | None) -> None:
    """UsageError for what a share cannot do."""
    if options.engine != "local":
        raise UsageError("--shard splits the work without Ray: omit it, or use --engine local")
    if resume == "never":
        raise UsageError("--resume never would make every shard begin again: remove the run first (bench rm RUN)")
    if until is not None:
        raise UsageError("--until looks at all prompts so far: it does not go with --shard")


def run_share(job: Job, share: Share) -> bool:
    """Make and score a share of the job; complete the runs if no other share is at work or missing, and say whether."""
    suite, scoring = job.suites
    shared = workers_of(job.stores, share)
    with at_work(shared):
        generate_share(job.plans, suite, shared, job.settings, share, job.progress)
        score_share(shared, scoring, share, job.settings.device, suite.resolution, job.progress)
    plan = job.plans[0]
    wanted = len(plan.prompts) * plan.samples

    def missing() -> str:
        there = [len({row.key for row in store.images()} & {item.key for item in plan.items}) for store in job.stores]
        found = zip(job.stores, there, strict=True)
        return "; ".join(f"{store.name} has {count} of {wanted} images" for store, count in found if count < wanted)

    return finish_if_last(job.stores, share, missing, lambda: complete(job, LOCAL))


def workers_of(stores: Sequence[RunStore], share: Share) -> list[SharedRunStore]:
    """The runs, as the worker of a share sees them."""
    return [SharedRunStore(store.path, worker=share.name) for store in stores]


def finish_if_last(
    stores: Sequence[RunStore], share: Share, missing: Callable[[], str], finish: Callable[[], object]
) -> bool:
    """Finish the runs if nobody else works on them and nothing of other shares is missing; else say what is."""
    with ExitStack() as stack:
        places = sorted({store.path for store in stores}, key=lambda path: str(path.absolute()))
        if not all(stack.enter_context(last_one(path)) for path in places):
            logger.info(f"shard {share} is done; others are at work, and the last one completes the runs")
            return False
        if left := missing():
            logger.info(f"shard {share} is done; {left}: other shards make the rest, or the same call without --shard")
            return False
        finish()
    return True
