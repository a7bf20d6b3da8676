"""The values that a run should have: prompts x samples. One that is absent is unscored, with the reason.

What was never generated or never scored leaves no row behind, and a mean over the rows that are there would be one over
an easier set of prompts. So the absent values are added when a run is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from bench.store.records import ScoreRow

NO_IMAGE = "no image"
NOT_SCORED = "not scored"
Key = tuple[str, int]


def with_absent(
    scores: Sequence[ScoreRow],
    kind: str,
    prompts: Iterable[str],
    samples: int,
    images: Callable[[], frozenset[Key]],
    refused: Mapping[Key, str] = MappingProxyType({}),
) -> list[ScoreRow]:
    """The rows of a metric, and a NaN row for each expected value that has none; set metrics are as they are.

    `images` gives the (prompt id, sample) that have an image; it is only called where a row is absent. `refused`
    are the reasons of images that a server did not make.
    """
    if kind == "set":
        return list(scores)
    numbers: list[int | None] = list(range(samples)) if kind == "image" else [None]
    have = {row.key for row in scores}
    absent = [(prompt_id, sample) for prompt_id in prompts for sample in numbers if (prompt_id, sample) not in have]
    if not absent:
        return list(scores)
    there = images()
    drawn = {prompt_id for prompt_id, _ in there}

    def reason(prompt_id: str, sample: int | None) -> str:
        made = prompt_id in drawn if sample is None else (prompt_id, sample) in there
        if made:
            return NOT_SCORED
        return refused.get((prompt_id, sample or 0), NO_IMAGE)  # of a group without any image, the first one's

    return [*scores, *(ScoreRow(*key, math.nan, reason(*key)) for key in absent)]
