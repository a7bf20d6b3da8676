"""The blocks of prompts that are left out in turn for a set metric's interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

MOST_BLOCKS, MOST_BLOCKS_WIDE, WIDE = 20, 10, 512
"""How many there are; fewer where one distance is slow, which it is above `WIDE` features."""


def count_for(clusters: int, width: int) -> tuple[int, int]:
    """How many blocks there are of so many clusters of prompts, and how many neighbours are put together."""
    count = min(MOST_BLOCKS, clusters)
    return count, _step(count) if width > WIDE else 1


def distances(metric: Any, blocks: Sequence[Any], against: Any) -> tuple[float, list[float]]:
    """The distance of all blocks together, and those with one block left out each (of at least three)."""
    if getattr(blocks[0], "width", 0) > WIDE and hasattr(metric, "leave_one_out"):
        value, left_out = metric.leave_one_out(joined(blocks), against)
        return float(value), [float(one) for one in left_out]
    value = float(metric.distance(sum_of(blocks), against))
    return value, [float(metric.distance(part, against)) for part in left_out_in_turn(blocks)]


def sum_of(parts: Sequence[Any]) -> Any:
    """The statistics of all parts together."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _step(count: int) -> int:
    return math.ceil(count / MOST_BLOCKS_WIDE)


def joined(blocks: Sequence[Any]) -> Sequence[Any]:
    """The blocks, neighbours put together where one distance is slow."""
    step = _step(len(blocks)) if getattr(blocks[0], "width", 0) > WIDE else 1
    return blocks if step == 1 else [sum_of(blocks[start : start + step]) for start in range(0, len(blocks), step)]


def left_out_in_turn(blocks: Sequence[Any]) -> Iterator[Any]:
    """The sums of all blocks but one, one after another: each may take tens of megabytes."""
    blocks = joined(blocks)
    if len(blocks) >= 3:
        for index in range(len(blocks)):
            yield sum_of([*blocks[:index], *blocks[index + 1 :]])
