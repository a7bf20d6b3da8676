"""The end of every job that scores: values, summaries, and `complete` last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.summary import summarise
from bench.analysis.table.caveats import FAILED
from bench.errors import BenchError, MissingError, UsageError
from bench.formatting import without_folders
from bench.runtime.progress import Progress
from bench.scoring.score import score
from bench.store.run_store import RunStore
from bench.suite.schema import Suite


def score_and_summarise(stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
    """Score and summarise; the caller holds the runs. Summaries are written even if a metric cannot be loaded.

    Which metrics these were is noted in the manifests, for tables and reports to say.
    """
    made = 0
    try:
        made = score(stores, suite, device=device, progress=progress)
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
        if not has_all_images(store):
            manifest = store.manifest()
            there, wanted = manifest.counts.get("images", 0), len(manifest.prompts) * manifest.samples
            raise MissingError(f"{store.name} has {there} of its {wanted} images: run the same command again")


def has_all_images(store: RunStore) -> bool:
    manifest = store.manifest()
    return int(manifest.counts.get("images", 0)) >= len(manifest.prompts) * manifest.samples


def _summarise(stores: Sequence[RunStore], always: bool) -> None:
    for store in stores:
        if always or store.summary() is None or _outdated(store):
            summarise(store)


def _outdated(store: RunStore) -> bool:
    """Whether the rows hold other metrics than the summary (a kill came between scoring and summarising)."""
    summary = store.path / "summary.json"
    newest = max((path.stat().st_mtime_ns for path in (store.path / "scores").glob("*/part-*.parquet")), default=0)
    return newest > summary.stat().st_mtime_ns
