"""What is said of several methods at once: fronts under resampling, prices, trade at equal reward, over-optimisation.

The numbers are those of `bench.judging`; here they are put into tables of plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.judging import AtEqual, Front, Joint, at_equal, front_of, over_optimisation, price
from bench.report.cells import MISSING, CellText, decimals, number
from bench.report.curves import Curve
from bench.report.plots import quality_axes

if TYPE_CHECKING:
    from bench.report.model import Table
    from bench.runs import MetricFacts
    from bench.stats import Interval

_MOST_LINES = 24


@dataclass(frozen=True)
class Grid:
    """A small table: a head, and per line its names and cells. `reasons` say why cells are empty, each once."""

    title: str
    explanation: str
    head: tuple[str, ...]
    lines: tuple[tuple[tuple[str, ...], tuple[CellText, ...]], ...]
    reasons: tuple[str, ...] = ()


def fronts_of(joint: Joint, table: Table) -> dict[tuple[str, str], Front]:
    """(horizontal, vertical) -> front, for every quality against every diversity and set metric."""
    pairs = [
        (x.name, y.name)
        for y in table.metrics
        if y.kind == "image"
        for x in table.metrics
        if x.kind != "image" and _both(joint, x.name, y.name)
    ]
    return {pair: front_of(joint, *pair) for pair in pairs}


def _both(joint: Joint, x: str, y: str) -> bool:
    means, _ = joint.points(x, y)
    return any(math.isfinite(a) and math.isfinite(b) for a, b in means.tolist())


def band_of(front: Front) -> dict[str, list[float | None]]:
    """The front's band as plain numbers, for the page."""
    band = front.band
    arrays = {"x": band.x, "low": band.low, "middle": band.middle, "high": band.high}
    return {key: [_short(value) for value in array.tolist()] for key, array in arrays.items()}


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def grids(joint: Joint, table: Table) -> list[Grid]:
    """The tables of the page's section, those that have something to say."""
    found: list[Grid | None] = [_over_optimisation(joint, table)]
    rewards = [facts for facts, _ in quality_axes(table)]
    diversities = [facts for facts in table.metrics if facts.kind == "group"]
    if table.reference and diversities:
        found += [_prices(joint, table, reward, diversities) for reward in rewards]
    sweeps = [curve for curve in table.curves if len(curve.members) > 1]
    for reward in rewards if diversities else []:
        found.append(_at_equal(joint, table, sweeps, reward, diversities, by_reward=True))
        found.append(_at_equal(joint, table, sweeps, reward, diversities, by_reward=False))
    return [grid for grid in found if grid is not None]


def _over_optimisation(joint: Joint, table: Table) -> Grid | None:
    if table.reference is None:
        return None
    found = over_optimisation(joint, [row.run for row in table.rows], table.reference)
    if not found:
        return None
    columns = [[getattr(one, key) for one in found] for key in ("in_gain", "held_out_gain", "index")]
    digits = [decimals(column) for column in columns]
    lines = []
    for i, one in enumerate(found):
        cells = [_cell(columns[j][i], digits[j], signed=j < 2) for j in range(3)]
        lines.append(((one.method, ", ".join(one.trained_on)), tuple(cells)))
    return Grid(
        "Over-optimisation",
        f"Gains over {table.reference}, each in standard deviations of its images. The index is 1 − held-out gain / "
        "gain in the training reward: 0 when both gain alike, 1 when nothing transfers, above 1 when the held-out "
        "rewards fall. It compares methods under the same metrics and is no absolute measure.",
        ("Method", "Trained on", "Gain in training reward ↑", "Held-out gain ↑", "Index ↓"),
        tuple(lines),
        _reasons(one.index for one in found),
    )


def _prices(joint: Joint, table: Table, reward: MetricFacts, diversities: Sequence[MetricFacts]) -> Grid | None:
    base = table.reference or ""
    rows = [row.name for row in table.rows if row.name != base]
    prices = [[price(joint, name, base, reward.name, facts.name) for facts in diversities] for name in rows]
    kept = [
        (name, line) for name, line in zip(rows, prices, strict=True) if any(math.isfinite(one.mean) for one in line)
    ]
    if not kept:
        return None
    digits = [decimals(line[j] for _, line in kept) for j in range(len(diversities))]
    lines = [
        ((name,), tuple(_cell(one, digit) for one, digit in zip(line, digits, strict=True))) for name, line in kept
    ]
    return Grid(
        f"Price of {reward.display}",
        f"Diversity lost per unit of {reward.display} gained over {base}; negative where diversity rose as well. "
        "Methods whose reward did not surely rise have no price.",
        ("Method", *(facts.display for facts in diversities)),
        tuple(lines),
        _reasons(one for line in prices for one in line),
    )


def _at_equal(
    joint: Joint,
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
            if row.name in members or len(lines) >= _MOST_LINES:
                continue
            pairs = [(reward.name, d.name) if by_reward else (d.name, reward.name) for d in diversities]
            found = [at_equal(joint, members, row.name, *pair) for pair in pairs]
            if any(math.isfinite(one.difference.mean) for one in found):
                lines.append(((f"{sweep.family} over {sweep.parameter}", row.name), found))
    if not lines:
        return None
    digits = [decimals(found[j].difference for _, found in lines) for j in range(len(diversities))]
    read = diversities if by_reward else [reward] * len(diversities)
    cells = [
        (
            names,
            tuple(_gap(one.difference, facts, digit) for one, facts, digit in zip(found, read, digits, strict=True)),
        )
        for names, found in lines
    ]
    what = f"{reward.display}" if by_reward else "diversity"
    each = "each diversity" if by_reward else reward.display
    head = [d.display if by_reward else f"at equal {d.display}" for d in diversities]
    return Grid(
        f"Diversity at equal {what}" if by_reward else f"{reward.display} at equal diversity",
        f"A sweep is read as a curve, straight between its settings, at the point where its {what} equals that of "
        f"another method: the difference in {each} there, sweep minus method. Nothing is extrapolated.",
        ("Sweep", "Method", *head),
        tuple(cells),
        _reasons(one.difference for _, found in lines for one in found),
    )


def _cell(one: Interval, digits: int, *, signed: bool = False) -> CellText:
    if not math.isfinite(one.mean):
        return CellText(MISSING)
    return CellText(number(one.mean, digits, signed), _range(one, digits, signed))


def _range(one: Interval, digits: int, signed: bool) -> str:
    if not math.isfinite(one.low):
        return ""
    return f"[{number(one.low, digits, signed)}, {number(one.high, digits, signed)}]"


def _gap(one: Interval, facts: MetricFacts, digits: int) -> CellText:
    if not math.isfinite(one.mean):
        return CellText(MISSING)
    sign = "" if not one.excludes_zero else "▲" if (one.mean > 0) == facts.higher else "▼"
    return CellText(number(one.mean, digits, True), _range(one, digits, True), sign=sign, strong=bool(sign))


def _reasons(intervals: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.reason for one in intervals if one.reason and not math.isfinite(one.mean)))
