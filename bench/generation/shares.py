"""One share of the images of several runs, while other processes make the others in the same results folder.

What a share is follows from the list of all images alone, so that nobody need ask anybody. The runs are opened, and
what must be the same for all shares is fixed, by whoever comes first, under the lock of the runs; then each works for
itself, with images and rows that need no lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench.generation.cutting import noted
from bench.generation.generate import fix_sizes, note_facts, work_of
from bench.generation.loaded import Loaded, Settings
from bench.generation.part import JournaledPart
from bench.generation.recording import Run, open_run, refuse_outdated
from bench.models.load import check_guidance
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress, Silent
from bench.runtime.share import Share
from bench.sampling.batches import Key, Work
from bench.store.atomic import to_json
from bench.store.presence import present
from bench.store.run_store import lock_runs
from bench.store.shared_store import SharedRunStore
from bench.suite.plan import RunPlan

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)

FILES_A_SECOND = 4
"""Files of rows that all shares of a run write together, at most."""


@contextmanager
def at_work(stores: Sequence[SharedRunStore]) -> Iterator[None]:
    """Be known as a worker of all these runs."""
    with ExitStack() as stack:
        for store in sorted(stores, key=lambda store: str(store.path.absolute())):
            stack.enter_context(store.work())
        yield


def generate_share(
    plans: Sequence[RunPlan],
    suite: Suite,
    stores: Sequence[SharedRunStore],
    settings: Settings,
    share: Share,
    progress: Progress | None = None,
) -> int:
    """Make what is missing of a share of the runs' images; returns how many were made now.

    The caller is `at_work`. Raises BenchError; what was made stays.
    """
    progress = progress or Silent()
    check_guidance(suite, {plan.method.name: plan.identity["guidance"] for plan in plans})
    with lock_runs(stores):
        runs, made_by, at_a_time = _open(plans, suite, stores, settings)
    work = _owned(runs, share) if runs else []
    total = sum(len(keys) for one in work for keys in one.save.values())
    if not total:
        return 0
    progress.start("generate", total)
    made_by = made_by or Loaded([run.plan for run in runs], suite, settings)
    made_by.at_a_time = at_a_time
    _compare(runs, made_by)
    shared = {store.name: store for store in stores}
    least = share.count / FILES_A_SECOND
    parts = {run.plan.name: JournaledPart(run.plan, shared[run.store.name], cut=run.cut, least=least) for run in runs}
    try:
        made_by.make(work, parts, progress)
    finally:
        for part in parts.values():
            part.record()
        progress.finish()
    return total


def _open(
    plans: Sequence[RunPlan], suite: Suite, stores: Sequence[SharedRunStore], settings: Settings
) -> tuple[list[Run], Loaded | None, int]:
    """The runs that miss images, as all shares see them; the model, if it was needed; how many images it takes.

    It is needed where nobody has fixed yet by what size the batches are cut, and where they are made.
    """
    refuse_outdated(stores)
    runs = [open_run(plan, suite, store) for plan, store in zip(plans, stores, strict=True)]
    for run, store in zip(runs, stores, strict=True):
        if present(run.store.path) == [store.worker]:
            run.take_in_spending()
            run.clear()
    missing = [run for run in runs if run.n_missing]
    if not missing:
        return [], None, 0
    if all(run.cut.size and run.store.exists() and run.manifest.batches for run in missing):
        return missing, None, min(_go_on(run, settings) for run in missing)
    for run in missing:
        run.store.write_manifest(run.manifest)
    made_by = Loaded([run.plan for run in missing], suite, settings)
    note_facts(missing, made_by.facts())
    return missing, made_by, fix_sizes(missing, made_by.fitting_size, settings)


def _go_on(run: Run, settings: Settings) -> int:
    """Note what is new of a run that was begun (samples, a smaller batch); how many images go through together."""
    recorded = int(run.manifest.timings.get("batch_size") or run.cut.size)
    size = min(recorded, settings.batch_size or recorded)
    noted(run.manifest, run.cut, size)
    if to_json(run.store.manifest().to_dict()) != to_json(run.manifest.to_dict()):
        run.store.write_manifest(run.manifest)
    return size


def _owned(runs: Sequence[Run], share: Share) -> list[Work]:
    """Of the batches that are to be made those of the share: it owns batches in a row of all that there ever were."""
    prompts = runs[0].prompt_ids
    index = {prompt: number for number, prompt in enumerate(prompts)}

    def place(key: Key) -> tuple[int, int]:
        return index[key[0]], key[1]

    starts = sorted({place(batch[0]) for run in runs for batch in run.cut.all_batches(prompts)})
    return [one for one in work_of(runs) if share.owns(starts, place(one.keys[0]))]


def _compare(runs: Sequence[Run], made_by: Loaded) -> None:
    """Warn where the machine of this share is not the kind that the run was begun on: last bits may differ."""
    for run, facts in zip(runs, made_by.facts(), strict=True):
        begun = run.manifest.provenance
        other = [key for key in ("device", "packages") if begun.get(key) != facts.get(key)]
        if other:
            told = "; ".join(f"{key} {_short(begun.get(key))} there, {_short(facts.get(key))} here" for key in other)
            logger.warning(f"{run.plan.name} was begun elsewhere ({told}): last bits of images may differ")


def _short(value: object) -> str:
    return str(value)[:200]
