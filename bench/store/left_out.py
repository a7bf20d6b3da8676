"""Values of a set metric with one block of prompts left out each, for its interval: all of them or none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.runtime.log import ONCE, get_logger
from bench.store.values import usable

if TYPE_CHECKING:
    from bench.store.records import ScoreRow
    from bench.store.run_store import RunStore
    from bench.store.ties import Ties

logger = get_logger(__name__)


def whole_blocks(store: RunStore, metric: str, card: Mapping[str, Any], ties: Ties) -> tuple[float, ...]:
    """The values with a block left out each; none where some are gone, which is said: the others make no interval."""
    rows = store.left_out_scores(metric)
    if store.lacks_left_out(metric, card, rows):
        logger.warning(
            f"{store.name}: values of {metric} with a block of prompts left out are gone, so that it has no interval: "
            "`bench score` makes them again",
            extra=ONCE,
        )
        return ()
    return _left_out(usable(rows, ties, {})[0])


def _left_out(rows: Sequence[ScoreRow]) -> tuple[float, ...]:
    """The values in the order of their blocks; none where a block's is missing or is no number."""
    values = {row.sample: row.value for row in rows if math.isfinite(row.value)}
    return tuple(values[block] for block in range(len(values))) if set(values) == set(range(len(values))) else ()
