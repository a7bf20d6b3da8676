"""When images of a run change, the scores that were made from the old ones must not be taken for current.

Scores are only ever appended, and the last row of a key wins. So an outdated value is covered by a NaN row with the
reason `STALE`, which the scoring stage reads as "still to do". The marks are written before the images' own rows: a
kill in between costs one scoring too many, never a wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.store.atomic import atomic_write
from bench.store.records import ImageRow, ScoreRow
from bench.store.run_store import RunStore

LOADER_VERSION = 2
"""How weights are read (`bench.models`). 1: the network of a checkpoint alone, adapters by diffusers' converters. 2:
with the parts that a pipeline brings and embedded guidance, adapters by the one parser."""
MARK = "outdated.txt"
"""In the folder of a run that an older version made of weights which it read otherwise: why it is left out."""
STALE = "the images were made again after scoring"
REPLACED = "the image was replaced after scoring"
OUT_OF_RANGE = "the stored value "
"""Before what is said of a value outside the metric's range."""
UNREADABLE = "the image cannot be used: "
UNEXPECTED = "the metric failed: "
"""Before an error that is no sentence of a metric about what it was given: the machine's, or a bug."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against a run's pictures, as a clause. Not `certain`: it cannot be told on this machine."""

    why: str
    certain: bool = True


DoubtsOf = Callable[[Sequence[RunStore]], Mapping[Path, Doubt]]
"""Doubts about runs by their folders; those without are not in it."""


def marked(stores: Sequence[RunStore]) -> dict[Path, Doubt]:
    """Doubts that `mark_outdated` wrote."""
    found = {store.path: why_outdated(store) for store in stores}
    return {path: Doubt(why) for path, why in found.items() if why is not None}


def mark_outdated(store: RunStore, why: str) -> None:
    """Say of a run, in its folder, why it must not be compared any more; nothing else in it changes."""
    if why_outdated(store) != why:
        atomic_write(store.path / MARK, f"{why}\n")


def why_outdated(store: RunStore) -> str | None:
    """Why a run must not be compared any more; None for one that may."""
    try:
        return (store.path / MARK).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def is_current(row: ScoreRow) -> bool:
    """False for rows that ask for another attempt: outdated ones, images that were damaged, metrics that failed."""
    again = (UNREADABLE, UNEXPECTED, OUT_OF_RANGE)
    return row.reason is None or not (row.reason in (STALE, REPLACED) or row.reason.startswith(again))


def mark_stale(store: RunStore, rows: Iterable[ImageRow], recorded: Mapping[tuple[str, int], str]) -> None:
    """Cover the scores that the new image rows outdate; `recorded` maps the keys of known images to their sha256.

    An image with other bytes outdates its own value; that, or an additional image, the value of its prompt and those
    of the whole set. The same bytes again change nothing.
    """
    changed = [row for row in rows if recorded.get(row.key) != row.sha256]
    if not changed:
        return
    prompts = {row.prompt_id for row in changed}
    keys = {row.key for row in changed}
    for metric in store.score_metrics():
        card = store.score_card(metric) or {}
        outdated = [
            ScoreRow(old.prompt_id, old.sample, math.nan, STALE)
            for old in store.scores(metric)
            if is_current(old) and (old.prompt_id is None or (old.prompt_id in prompts and old.sample is None)
                                    or old.key in keys)
        ]  # fmt: skip
        if outdated:
            store.append_scores(metric, outdated, card)
