"""How long the tuned predictions are beside the base's, at the steps that evaluated both: it costs no evaluation.

Tuning by reward tends to lengthen the predicted velocity (NormGuard, arXiv 2606.27771). What is compared is what the
step adds up: each side's prediction with its own guidance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.analysis.stats import t_quantile
from bench.errors import BenchError
from bench.store.records import NormRow
from bench.store.run_store import RunStore

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row, Table

SHOWN = 7
"""Most steps that have a column."""


@dataclass(frozen=True, slots=True)
class NormLine:
    """One method: its row in the table, (ratio, interval) for each shown step, and the images that these are of."""

    row: Row
    cells: list[tuple[str, str]]
    images: str


def norms_section(table: Table) -> dict[str, object] | None:
    """The steps that have columns and a line a method; None where no run recorded ratios."""
    found = {row.name: _norms(row) for row in table.rows}
    steps = sorted({one.step for rows in found.values() for one in rows})
    if not steps:
        return None
    shown = sorted({steps[round(index * (len(steps) - 1) / (SHOWN - 1))] for index in range(SHOWN)})
    lines = []
    for row in table.rows:
        rows = found[row.name]
        if rows:
            cells = [ratio_text([one for one in rows if one.step == step]) for step in shown]
            count = len({(one.prompt_id, one.sample) for one in rows})
            lines.append(NormLine(row, cells, f"{count} of {row.run.n_images}"))
    return {"steps": shown, "lines": lines, "every": len(shown) == len(steps)}


def ratio_text(rows: Sequence[NormRow]) -> tuple[str, str]:
    """("1.023", "[1.011, 1.035]"): the mean over prompts of their images' mean, with a 95 % t interval over prompts."""
    by_prompt: dict[str, list[float]] = {}
    for one in rows:
        if math.isfinite(one.ratio):
            by_prompt.setdefault(one.prompt_id, []).append(one.ratio)
    means = [fmean(values) for values in by_prompt.values()]
    if not means:
        return "-", ""
    if len(means) == 1:
        return f"{means[0]:.3f}", "one prompt"
    half = t_quantile(0.975, len(means) - 1) * stdev(means) / math.sqrt(len(means))
    return f"{fmean(means):.3f}", f"[{fmean(means) - half:.3f}, {fmean(means) + half:.3f}]"


def _norms(row: Row) -> list[NormRow]:
    try:
        return RunStore(row.run.path).norms() if row.run.path.is_dir() else []
    except BenchError:  # of a newer version: its images are told of elsewhere
        return []
