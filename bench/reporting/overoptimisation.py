"""The tables of over-optimisation: gains in the training reward against gains in held-out metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.tradeoff import OverOptimisation, index_difference, over_optimisation
from bench.reporting.cells import DAGGER, decimals
from bench.reporting.grids import MOST_LINES, Grid, cell, reasons

if TYPE_CHECKING:
    from bench.analysis.stats import Interval
    from bench.analysis.table.rows import Table


def _over_optimised(table: Table) -> list[OverOptimisation]:
    """Of all methods against the reference; none where that was itself tuned, for it is no beginning of the others."""
    origin = next((row for row in table.rows if row.name == table.reference), None)
    if origin is None or origin.run.trained_on:
        return []
    return over_optimisation([row.run for row in table.rows], [row.name for row in table.rows], origin.name)


def over_optimisation_grid(table: Table) -> Grid | None:
    """Per method the gains in the reward that it was trained on and in the others, and the index."""
    found = _over_optimised(table)
    if not found or table.reference is None:
        return None
    image = {facts.name: facts for facts in table.metrics if facts.kind == "image"}
    held_out = [name for name in image if any(name in one.held_out for one in found)]
    columns: list[list[Interval | None]] = [
        [one.in_gain for one in found],
        *([one.gains.get(name) for one in found] for name in held_out),
        [one.held_out_gain for one in found],
        [one.index for one in found],
    ]
    digits = [decimals(one for one in column if one is not None) for column in columns]
    lines = []
    for i, one in enumerate(found):
        marks = ["", *(DAGGER if name in one.trained_on else "" for name in held_out), "", ""]
        cells = [
            cell(column[i], digit, signed=column is not columns[-1], mark=mark)
            for column, digit, mark in zip(columns, digits, marks, strict=True)
        ]
        titles = (image[name].display if name in image else name for name in one.trained_on)
        lines.append(((one.method, ", ".join(titles)), tuple(cells)))
    return Grid(
        "Over-optimisation",
        _over_optimisation_text(table.reference, [image[name].display for name in held_out]),
        (
            "Method",
            "Trained on",
            "Gain in training reward ↑",
            *(f"Gain in {image[name].display} ↑" for name in held_out),
            "Mean gain in held-out metrics ↑",
            "Index ↓",
        ),
        tuple(lines),
        (
            *reasons(one.index for one in found),
            *dict.fromkeys(f"{one.method}: {one.gaps}" for one in found if one.gaps),
        ),
    )


def index_differences(table: Table) -> Grid | None:
    """The index of each method minus that of each other, of methods with the same training and held-out metrics."""
    found = _over_optimised(table)
    known = [one for one in found if one.influence]
    pairs = [
        (a, b, index_difference(a, b))
        for i, b in enumerate(known)
        for a in known[:i]
        if (a.trained_on, a.held_out) == (b.trained_on, b.held_out)
    ]
    if not pairs:
        return None
    digits = decimals(difference for _, _, difference in pairs)
    lines = tuple(((b.method, a.method), (cell(difference, digits, signed=True),)) for a, b, difference in pairs)
    return Grid(
        "Differences of the over-optimisation index",
        "Index of the first method minus that of the second, paired by prompt; negative: the first loses less of its "
        "gain outside of the training reward. Only between methods with the same training reward.",
        ("Method", "minus", "Difference ↓"),
        lines[:MOST_LINES],
        reasons(difference for _, _, difference in pairs),
    )


def _over_optimisation_text(reference: str, held_out: Sequence[str]) -> str:
    return (
        f"Gains over {reference}, each in standard deviations of images, pooled over both. Held-out metrics are the "
        f"image metrics that a method was not trained on ({', '.join(held_out)}), rewards or not; look at each before "
        "their mean. The index is 1 − mean gain in held-out metrics / gain in the training reward: 0 when both gain "
        "alike, 1 when nothing transfers, above 1 when the held-out metrics fall on average. It compares methods under "
        f"the same metrics and is no absolute measure. {DAGGER} Trained on it."
    )
