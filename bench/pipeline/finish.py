"""The end of every job that scores: values, summaries, and `complete` last."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bench.analysis.summary import summarise, summary_fault
from bench.errors import MissingError, UsageError
from bench.runtime.progress import Progress
from bench.scoring.score import score
from bench.store.run_store import RunStore
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


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
        there, wanted = _images(store)
        if there < wanted:
            raise MissingError(f"{store.name} has {there} of its {wanted} images: run the same command again")


def has_all_images(store: RunStore) -> bool:
    """Whether every image that the manifest asks for is there, as it was recorded."""
    there, wanted = _images(store)
    return there >= wanted


def _images(store: RunStore) -> tuple[int, int]:
    manifest = store.manifest()
    keys = [(str(prompt["id"]), sample) for prompt in manifest.prompts for sample in range(manifest.samples)]
    return len(store.verified_images(keys)[0]), len(keys)


def _summarise(stores: Sequence[RunStore], always: bool) -> None:
    for store in stores:
        why = None if always else summary_fault(store)
        if why is not None and store.exists() and store.manifest().complete:
            logger.warning(f"{store.name}: the summary is made again: {why}")
        if always or why is not None:
            summarise(store)
