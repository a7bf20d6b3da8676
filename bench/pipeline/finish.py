"""The end of every job that scores: values, summaries, and `complete` last."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.summary import summarise, summary_fault
from bench.analysis.table.caveats import FAILED
from bench.engines.engine import Engine
from bench.engines.local import LOCAL
from bench.errors import BenchError, MissingError, UsageError
from bench.formatting import without_folders
from bench.runtime.progress import Progress
from bench.store.run_store import RunStore
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


def score_and_summarise(
    stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None, engine: Engine = LOCAL
) -> int:
    """Score and summarise; the caller holds the runs. Summaries are written even if a metric cannot be loaded.

    Which metrics these were is noted in the manifests, for tables and reports to say.
    """
    made = 0
    try:
        made = engine.score(stores, suite, device, progress)
    except (MissingError, UsageError) as error:
        _note_failures(stores, suite, error.failures)
        _summarise(stores, always=True)
        raise
    _note_failures(stores, suite, {})
    _summarise(stores, always=made > 0)
    return made


@contextlib.contextmanager
def completing(stores: Sequence[RunStore], *, partial: bool = False) -> Iterator[None]:
    """Around the scoring of runs: they become `complete` at the end, also where some of their metrics failed.

    Then the error is raised with the runs, after they are complete. Runs without any value stay unfinished. `partial`:
    images may be missing, since there are no more.
    """
    failure: BenchError | None = None
    try:
        yield
    except BenchError as error:
        if not error.failures or not any(store.score_metrics() for store in stores):
            raise
        failure = error
    if not partial:
        check_images(stores)
    mark_complete(stores)
    if failure is not None:
        failure.stores = list(stores)
        raise failure


def _note_failures(stores: Sequence[RunStore], suite: Suite, failures: Mapping[str, str]) -> None:
    """Note of each metric of the suite that it could not be scored, and why; or that it can be again."""
    for store in stores:
        manifest = store.manifest()
        notes = {
            name: [one for one in sentences if name not in suite.metrics or not one.startswith(FAILED)]
            for name, sentences in manifest.notes.items()
        }
        for name, reason in failures.items():
            notes[name] = [*notes.get(name, []), f"{FAILED}{without_folders(reason)}"]
        notes = {name: sentences for name, sentences in notes.items() if sentences}
        if notes != manifest.notes:
            manifest.notes = notes
            store.write_manifest(manifest)


def mark_complete(stores: Sequence[RunStore]) -> None:
    """Write `complete`, last of all: images, scores and summary are there. The caller holds the runs."""
    for store in stores:
        manifest = store.manifest()
        if not manifest.complete:
            manifest.status = "complete"
            store.write_manifest(manifest)


def check_images(stores: Sequence[RunStore]) -> None:
    """MissingError for a run without all of its images: it must not become `complete`."""
    for store in stores:
        there, wanted = _images(store)
        if there == 0 and (refusals := store.refusals()):
            reason = next(iter(refusals.values()))
            raise MissingError(
                f"{store.name} has no image, since the endpoint made none ({reason}): mend that, and run the same "
                "command with --resume never"
            )
        if there < wanted:
            raise MissingError(f"{store.name} has {there} of its {wanted} images: run the same command again")


def has_all_images(store: RunStore) -> bool:
    """Whether every image that the manifest asks for is there, as it was recorded."""
    there, wanted = _images(store)
    return there >= wanted


def _images(store: RunStore) -> tuple[int, int]:
    manifest = store.manifest()
    refused = store.refusals()
    listed = ((str(prompt["id"]), sample) for prompt in manifest.prompts for sample in range(manifest.samples))
    keys = [key for key in listed if key not in refused]
    return len(store.verified_images(keys)[0]), len(keys)


def _summarise(stores: Sequence[RunStore], always: bool) -> None:
    for store in stores:
        why = None if always else summary_fault(store)
        if why is not None and store.exists() and store.manifest().complete:
            logger.warning(f"{store.name}: the summary is made again: {why}")
        if always or why is not None:
            summarise(store)
