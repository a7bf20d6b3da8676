"""Plans -> images on disk. Makes what is missing, takes over what a sibling run already has, and survives a kill.

PNGs are written first, then the rows that make them part of the run. `complete` is written when all is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.generation.cutting import noted
from bench.generation.loaded import Loaded, Settings
from bench.generation.networks import actions_for
from bench.generation.recording import COUNTS, Run, open_run, refuse_outdated
from bench.models.load import check_guidance
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress, Silent
from bench.sampling.batches import Work, make_work
from bench.store.replace import starting_again
from bench.store.run_store import RunStore, lock_runs
from bench.suite.plan import RunPlan

if TYPE_CHECKING:
    from bench.suite.schema import Suite

__all__ = ["COUNTS", "Settings", "actions_for", "generate"]

logger = get_logger(__name__)


def generate(
    plans: Sequence[RunPlan],
    suite: Suite,
    stores: Sequence[RunStore],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> int:
    """Make the images of all plans (stores[n] is the run of plans[n]); returns how many were made now.

    Methods share their common steps. No model is loaded when nothing is missing. Raises BenchError (weights missing,
    disk full, ...); whatever was finished stays, and the next call goes on from there.
    """
    settings, progress = settings or Settings(), progress or Silent()
    check_guidance(suite, {plan.method.name: plan.identity["guidance"] for plan in plans})
    with lock_runs(stores):
        if settings.resume != "never":
            return _generate(plans, suite, stores, settings, progress)
        with starting_again(stores) as fresh:
            return _generate(plans, suite, fresh, settings, progress)


def _generate(
    plans: Sequence[RunPlan], suite: Suite, stores: Sequence[RunStore], settings: Settings, progress: Progress
) -> int:
    take_over = settings.resume != "never"
    if take_over:
        refuse_outdated(stores)
    runs = [open_run(plan, suite, store, take_over) for plan, store in zip(plans, stores, strict=True)]
    total = sum(run.n_missing for run in runs)
    if total:
        for run in runs:
            run.store.write_manifest(run.manifest)
        progress.start("generate", total)
        try:
            _make_all(runs, suite, settings, progress)
        finally:
            progress.finish()
    for run in runs:
        run.write_image_count()
    return total


def _make_all(runs: Sequence[Run], suite: Suite, settings: Settings, progress: Progress) -> None:
    by_name = {run.plan.name: run for run in runs if run.n_missing}
    made_by = Loaded([run.plan for run in by_name.values()], suite, settings)
    made_by.note(run.manifest for run in by_name.values())
    fix_sizes(by_name, made_by, settings)
    for run in by_name.values():
        run.store.write_manifest(run.manifest)  # with where it is made, and how it is cut
    with _recording(by_name):
        began = time.monotonic()
        for run in by_name.values():
            run.recorded_at = began
        made_by.make(work_of(by_name), by_name, progress)


def work_of(runs: Mapping[str, Run]) -> list[Work]:
    """The batches that are to be made of the runs, which know how they are cut."""
    wanted = {name: run.missing | run.lost for name, run in runs.items()}
    return make_work(next(iter(runs.values())).prompt_ids, wanted, {name: run.cut for name, run in runs.items()})


def fix_sizes(runs: Mapping[str, Run], made_by: Loaded, settings: Settings) -> None:
    """Fix by what size each run is cut (what it was begun with, else what was asked for, else what fits).

    How many images go through the network together is no more than that, nor than what was asked for now or memory
    allowed before.
    """
    if any(not run.cut.size for run in runs.values()):
        size = settings.batch_size or min((run.cut.size for run in runs.values() if run.cut.size), default=0)
        size = size or made_by.fitting_size()
        for run in runs.values():
            run.cut = replace(run.cut, size=run.cut.size or size)
    for name, run in runs.items():
        begun = run.manifest.timings.get("batch_size") if run.manifest.batches.get("size") else None
        size = min(settings.batch_size or int(begun or run.cut.size), run.cut.size)
        if settings.batch_size and settings.batch_size > run.cut.size:
            logger.warning(f"{name} was begun with batches of {run.cut.size}: it goes on with those")
        noted(run.manifest, run.cut, size)
        made_by.at_a_time = min(made_by.at_a_time or size, size)


@contextlib.contextmanager
def _recording(runs: Mapping[str, Run]) -> Iterator[None]:
    """Whatever ends the work, the images saved so far are recorded and the manifests know the time spent."""
    try:
        yield
    except BaseException:
        # The first error is the one to tell; on a full disk this fails as well.
        with contextlib.suppress(BenchError):
            _close(runs)
        raise
    _close(runs)


def _close(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        run.record()
        run.write_counts()
