"""The end of every job that scores: values, summaries, and `complete` last."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.summary import summarise
from bench.errors import MissingError, UsageError
from bench.runtime.progress import Progress
from bench.scoring.score import score
from bench.store.run_store import RunStore
from bench.suite.schema import Suite


def score_and_summarise(stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
    """Score and summarise; the caller holds the runs. Summaries are written even if a metric cannot be loaded."""
    made = 0
    try:
        made = score(stores, suite, device=device, progress=progress)
    except (MissingError, UsageError):
        _summarise(stores, always=True)
        raise
    _summarise(stores, always=made > 0)
    return made


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
