"""Plans -> images on disk. Makes what is missing, takes over what a sibling run already has, and survives a kill.

PNGs are written first, then the rows that make them part of the run. `complete` is written when all is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import BenchError
from bench.generation.cutting import noted
from bench.generation.loaded import Loaded, Settings
from bench.generation.networks import actions_for
from bench.generation.recording import COUNTS, Run, open_run, refuse_outdated
from bench.generation.served import check_no_settings, make_served
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


class Make(Protocol):
    """What makes the images that runs miss, and records them. Raises BenchError; what was made stays."""

    def __call__(self, runs: Sequence[Run], suite: Suite, settings: Settings, *, progress: Progress) -> None:
        """All of `runs` miss some."""


def generate(
    plans: Sequence[RunPlan],
    suite: Suite,
    stores: Sequence[RunStore],
    settings: Settings | None = None,
    progress: Progress | None = None,
    make: Make | None = None,
) -> int:
    """Make the images of all plans (stores[n] is the run of plans[n]); returns how many were made now.

    Methods share their common steps. No model is loaded when nothing is missing. `make` makes what is missing (default:
    this process). Raises BenchError (weights missing, disk full, ...); whatever was finished stays, and the next call
    goes on from there.
    """
    settings, progress, make = settings or Settings(), progress or Silent(), make or make_here
    check_guidance(suite, {plan.method.name: plan.identity["guidance"] for plan in plans})
    with lock_runs(stores):
        if settings.resume != "never":
            return _generate(plans, suite, stores, settings, partial(make, progress=progress))
        with starting_again(stores) as fresh:
            return _generate(plans, suite, fresh, settings, partial(make, progress=progress))


def _generate(
    plans: Sequence[RunPlan], suite: Suite, stores: Sequence[RunStore], settings: Settings, make: Callable[..., None]
) -> int:
    take_over = settings.resume != "never"
    if take_over:
        refuse_outdated(stores)
    runs = [open_run(plan, suite, store, take_over) for plan, store in zip(plans, stores, strict=True)]
    for run in runs:
        run.take_in_spending()
    total = sum(run.n_missing for run in runs)
    if total:
        for run in runs:
            run.store.write_manifest(run.manifest)
        make([run for run in runs if run.n_missing], suite, settings)
    for run in runs:
        run.write_image_count()
    return total


def make_here(runs: Sequence[Run], suite: Suite, settings: Settings, *, progress: Progress) -> None:
    """Make what the runs miss, in this process."""
    by_name = {run.plan.name: run for run in runs}
    progress.start("generate", sum(run.n_missing for run in runs))
    try:
        if suite.model.endpoint is not None:
            check_no_settings(settings, suite)
            with recording(runs):
                make_served(by_name, suite, progress)
            return
        made_by = Loaded([run.plan for run in runs], suite, settings)
        note_facts(runs, made_by.facts())
        made_by.at_a_time = fix_sizes(runs, made_by.fitting_size, settings)
        with recording(runs):
            made_by.make(work_of(runs), by_name, progress)
    finally:
        progress.finish()


def note_facts(runs: Sequence[Run], facts: Sequence[Mapping[str, Any]]) -> None:
    """Note in the manifests where and of which commits their images are made (`Loaded.facts`), unless they know."""
    for run, found in zip(runs, facts, strict=True):
        run.manifest.provenance = dict(run.manifest.provenance or found)
        if commits := found.get("commits"):
            run.manifest.provenance["commits"] = commits


def work_of(runs: Sequence[Run]) -> list[Work]:
    """The batches that are to be made of the runs, which know how they are cut."""
    wanted = {run.plan.name: run.missing | run.lost for run in runs}
    return make_work(runs[0].prompt_ids, wanted, {run.plan.name: run.cut for run in runs})


def fix_sizes(runs: Sequence[Run], fitting: Callable[[], int], settings: Settings) -> int:
    """Fix by what size each run is cut (what it was begun with, else what was asked for, else what fits).

    Returns how many images go through the network together: no more than that, nor than what was asked for now or
    memory allowed before.
    """
    if any(not run.cut.size for run in runs):
        size = settings.batch_size or min((run.cut.size for run in runs if run.cut.size), default=0)
        size = size or fitting()
        for run in runs:
            run.cut = replace(run.cut, size=run.cut.size or size)
    sizes = []
    for run in runs:
        begun = run.manifest.timings.get("batch_size") if run.manifest.batches.get("size") else None
        size = min(settings.batch_size or int(begun or run.cut.size), run.cut.size)
        if settings.batch_size and settings.batch_size > run.cut.size:
            logger.warning(f"{run.plan.name} was begun with batches of {run.cut.size}: it goes on with those")
        if settings.batch_size and size < run.cut.group:
            logger.warning(
                f"{run.plan.name}: the {run.cut.group} images of a prompt are made together, so that its batches hold "
                f"{run.cut.group} images and not {size}"
            )
        noted(run.manifest, run.cut, size)
        run.store.write_manifest(run.manifest)  # with where it is made, and how it is cut
        sizes.append(size)
    return min(sizes)


@contextlib.contextmanager
def recording(runs: Sequence[Run]) -> Iterator[None]:
    """Whatever ends the work, the images saved so far are recorded and the manifests know the time spent."""
    began = time.monotonic()
    for run in runs:
        run.recorded_at = began
    try:
        yield
    except BaseException:
        # The first error is the one to tell; on a full disk this fails as well.
        with contextlib.suppress(BenchError):
            _close(runs)
        raise
    _close(runs)


def _close(runs: Sequence[Run]) -> None:
    for run in runs:
        run.record()
        run.write_counts()
