"""One share of the values of several runs, while other processes make the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.registry.metrics import ensure_metrics
from bench.runtime.progress import Progress, Silent
from bench.runtime.share import Share
from bench.scoring.chunk import Tools
from bench.scoring.chunking import chunks, planned_chunks
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.memory import Models
from bench.scoring.missing import target_of
from bench.scoring.piece import Piece, Pieces, Records, missing_of, pieces_of
from bench.scoring.reader import reading
from bench.store.run_store import RunStore
from bench.store.shared_store import SharedRunStore

if TYPE_CHECKING:
    from bench.suite.schema import Suite


def score_share(
    stores: Sequence[SharedRunStore],
    suite: Suite,
    share: Share,
    device: str,
    resolution: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Score a share of each run's images and groups, and keep the features of sets; returns the values made now.

    The caller is a worker of the runs. `resolution` of images that are still being made (None: all are there). What
    is left (pieces with images of other shares, set metrics, metrics that fail) is for who scores the whole runs.
    """
    progress = progress or Silent()
    ensure_metrics()
    pieces = [piece for store in stores for piece in pieces_of_share(store, suite, share, resolution)]
    names = [name for name in suite.metrics if any(name in piece.missing for piece in pieces)]
    if not pieces:
        return 0
    cache = stores[0].path.parents[2] / "cache"
    records, made = Records(stores), 0
    progress.start("score", sum(piece.size for piece in pieces))
    try:
        with reading() as reader:
            for group in Models(names, suite, device).groups():
                loaded = Pieces(group, suite, cache, Tools(reader, FeatureCache(cache / "features")))
                for piece in pieces:
                    count = records.add(loaded.score(piece))
                    made += count
                    progress.advance(count)
                del loaded, group
    finally:
        records.record()
        progress.finish()
    return made


def left_in_pieces(store: RunStore, suite: Suite) -> int:
    """How many values of images and groups a run lacks."""
    ensure_metrics()
    target = target_of(store)
    missing = missing_of(target, suite, [row.key for rows in target.images.values() for row in rows])
    return sum(len(one.images) + len(one.prompts) for one in missing.values())


def pieces_of_share(store: RunStore, suite: Suite, share: Share, resolution: int | None) -> list[Piece]:
    """Of a share the pieces whose images are all there. `resolution` of images that are still being made, else None."""
    target, manifest = target_of(store), store.manifest()
    listed = chunks(target) if resolution is None else planned_chunks(manifest, resolution)
    low, high = share.range_of(len(listed))
    own, rows = listed[low:high], {row.key: row for group in target.images.values() for row in group}
    samples = range(manifest.samples)
    keys = {(prompt_id, sample) for prompt_ids in own for prompt_id in prompt_ids for sample in samples}
    # Of images that were taken from elsewhere prompts may have fewer than others, and no more will come.
    wanted = keys if resolution is not None else keys & rows.keys()
    return list(pieces_of(store, own, missing_of(target, suite, wanted), rows, wanted))
