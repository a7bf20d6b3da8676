"""What is said of several methods at once: fronts, prices, trade at equal reward, over-optimisation.

The numbers are those of `bench.analysis.tradeoff`; here they are put into tables of plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.differences import LEVEL
from bench.analysis.stats import holm
from bench.analysis.table.rows import Curve
from bench.analysis.tradeoff import (
    AtEqual,
    Front,
    Joint,
    Pairs,
    at_equal,
    front_of,
    price,
    verdicts_of,
)
from bench.reporting.cells import MISSING, CellText, decimals, number
from bench.reporting.equal_cost import equal_cost_grid
from bench.reporting.grids import MOST_LINES, Grid, cell, reasons
from bench.reporting.overoptimisation import index_differences, over_optimisation_grid
from bench.reporting.plots import of_one_protocol, quality_axes
from metrics.types import is_official

if TYPE_CHECKING:
    from bench.analysis.stats import Interval
    from bench.analysis.table.rows import Table
    from bench.reporting.payload_types import Band
    from bench.store.runs import MetricFacts

SURE_HERE = "also after Holm's correction over this table"


def verdicts_on(pairs: Pairs, front: Front) -> dict[str, str]:
    """Method -> whether it is surely on this front, surely dominated, or undecided."""
    return verdicts_of(pairs, front.methods, (front.x, front.y))


def fronts_of(joint: Joint, table: Table) -> dict[tuple[str, str], Front]:
    """(horizontal, vertical) -> front, for every quality against every diversity and set metric."""
    pairs = [
        (x.name, y.name)
        for y in table.metrics
        if y.kind == "image"
        for x in table.metrics
        if x.kind != "image" and _one_protocol(x, y) and _both(joint, x.name, y.name)
    ]
    return {pair: front_of(joint, *pair) for pair in pairs}


def _one_protocol(x: MetricFacts, y: MetricFacts) -> bool:
    """A verdict never rests on an official and a corrected value together."""
    return is_official(x.name) == is_official(y.name)


def _both(joint: Joint, x: str, y: str) -> bool:
    means, _ = joint.points(x, y)
    return any(math.isfinite(a) and math.isfinite(b) for a, b in means.tolist())


def band_of(front: Front) -> Band:
    """The front's band as plain numbers, for the page."""
    x, low, middle, high = (
        [_short(value) for value in array.tolist()]
        for array in (front.band.x, front.band.low, front.band.middle, front.band.high)
    )
    return {"x": x, "low": low, "middle": middle, "high": high}


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def grids(pairs: Pairs, table: Table) -> list[Grid]:
    """The tables of the page's section, those that have something to say."""
    found: list[Grid | None] = [over_optimisation_grid(table), index_differences(table)]
    rewards = [facts for facts, _ in quality_axes(table)]
    diversities = [facts for facts in of_one_protocol(table) if facts.kind == "group"]
    if table.reference and diversities:
        found += [_prices(pairs, table, reward, diversities) for reward in rewards]
    sweeps = [curve for curve in table.curves if len(curve.members) > 1]
    found += [equal_cost_grid(pairs, table, reward, diversities[0]) for reward in rewards if diversities]
    for reward in rewards if diversities else []:
        found.append(_at_equal(pairs, table, sweeps, reward, diversities, by_reward=True))
        found.append(_at_equal(pairs, table, sweeps, reward, diversities, by_reward=False))
    return [grid for grid in found if grid is not None]


def _prices(pairs: Pairs, table: Table, reward: MetricFacts, diversities: Sequence[MetricFacts]) -> Grid | None:
    base = table.reference or ""
    rows = [row.name for row in table.rows if row.name != base]
    prices = [[price(pairs, name, base, reward.name, facts.name) for facts in diversities] for name in rows]
    kept = [
        (name, line) for name, line in zip(rows, prices, strict=True) if any(math.isfinite(one.mean) for one in line)
    ]
    if not kept:
        return None
    digits = [decimals(line[j] for _, line in kept) for j in range(len(diversities))]
    lines = [((name,), tuple(cell(one, digit) for one, digit in zip(line, digits, strict=True))) for name, line in kept]
    return Grid(
        f"Price of {reward.display}",
        f"Diversity lost per unit of {reward.display} gained over {base}; negative where diversity rose as well. "
        "Methods whose reward did not rise significantly have no price.",
        ("Method", *(facts.display for facts in diversities)),
        tuple(lines),
        reasons(one for line in prices for one in line),
    )


def _at_equal(
    pairs: Pairs,
    table: Table,
    sweeps: Sequence[Curve],
    reward: MetricFacts,
    diversities: Sequence[MetricFacts],
    *,
    by_reward: bool,
) -> Grid | None:
    """Per sweep and other method: diversity at equal reward, or reward at equal diversity."""
    lines: list[tuple[tuple[str, ...], list[AtEqual]]] = []
    for sweep in sweeps:
        members = [name for name, _ in sweep.members]
        for row in table.rows:
            if row.name in members or len(lines) >= MOST_LINES:
                continue
            axes = [(reward.name, d.name) if by_reward else (d.name, reward.name) for d in diversities]
            found = [at_equal(pairs, members, row.name, *pair) for pair in axes]
            if any(math.isfinite(one.difference.mean) for one in found):
                lines.append(((f"{sweep.family} over {sweep.parameter}", row.name), found))
    if not lines:
        return None
    digits = [_rough([found[j].difference for _, found in lines]) for j in range(len(diversities))]
    corrected = iter(holm([one.p for _, found in lines for one in found]).tolist())
    read = diversities if by_reward else [reward] * len(diversities)
    cells = [
        (
            names,
            tuple(
                _difference(one, facts, digit, next(corrected))
                for one, facts, digit in zip(found, read, digits, strict=True)
            ),
        )
        for names, found in lines
    ]
    what = f"{reward.display}" if by_reward else "diversity"
    each = "each diversity" if by_reward else reward.display
    head = [d.display if by_reward else f"at equal {d.display}" for d in diversities]
    return Grid(
        f"Diversity at equal {what}" if by_reward else f"{reward.display} at equal diversity",
        f"A sweep is read where its {what} equals that of another method: the difference in {each} there, sweep minus "
        "method, on the straight line between its settings. The limits do not trust that line: they are against the "
        "settings on either side, which bound any curve on which more of one metric costs some of the other. A mark "
        f"says that the sweep's settings dominate the method, or it dominates them: ▲ ▼ {SURE_HERE}, △ ▽ only by the "
        "cell's own 95 % limits. Nothing is extrapolated.",
        ("Sweep", "Method", *head),
        tuple(cells),
        reasons(one.difference for _, found in lines for one in found),
    )


def _difference(at_equal: AtEqual, facts: MetricFacts, digits: int, p_holm: float) -> CellText:
    """The difference at equal reward or diversity, with the limits that hold for any monotone curve."""
    one = at_equal.difference
    if not math.isfinite(one.mean):
        return CellText(MISSING)
    value = number(one.mean, digits, True)
    if math.isnan(one.low):
        return CellText(value)
    low, high = (number(end, digits, True) if math.isfinite(end) else "" for end in (one.low, one.high))
    limits = f"[{low}, {high}]" if low and high else f"at least {low}" if low else f"at most {high}"
    if not one.excludes_zero:
        return CellText(value, limits)
    better, sure = (one.low > 0) == facts.higher, p_holm < LEVEL
    sign = ("▲" if sure else "△") if better else ("▼" if sure else "▽")
    return CellText(value, limits, sign=sign, strong=sure)


def _rough(column: Sequence[Interval]) -> int:
    """Digits of a column; without any interval two significant ones, since nothing says that more are known."""
    return decimals(column) if any(math.isfinite(one.low) for one in column) else max(0, decimals(column) - 2)
