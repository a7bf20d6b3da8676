"""What is said of several methods at once: fronts under resampling, prices, trade at equal reward, over-optimisation.

The numbers are those of `bench.analysis.tradeoff`; here they are put into tables of plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.analysis.table.rows import Curve
from bench.analysis.tradeoff import AtEqual, Front, Joint, at_equal, front_of, over_optimisation, price
from bench.reporting.cells import DAGGER, MISSING, CellText, decimals, number
from bench.reporting.plots import quality_axes

if TYPE_CHECKING:
    from bench.analysis.stats import Interval
    from bench.analysis.table.rows import Table
    from bench.reporting.payload_types import Band
    from bench.store.runs import MetricFacts

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


def band_of(front: Front) -> Band:
    """The front's band as plain numbers, for the page."""
    x, low, middle, high = (
        [_short(value) for value in array.tolist()]
        for array in (front.band.x, front.band.low, front.band.middle, front.band.high)
    )
    return {"x": x, "low": low, "middle": middle, "high": high}


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
            _cell(column[i], digit, signed=column is not columns[-1], mark=mark)
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
        _reasons(one.index for one in found),
    )


def _over_optimisation_text(reference: str, held_out: Sequence[str]) -> str:
    return (
        f"Gains over {reference}, each in standard deviations of images, pooled over both. Held-out metrics are the "
        f"image metrics that a method was not trained on ({', '.join(held_out)}), rewards or not; look at each before "
        "their mean. The index is 1 − mean gain in held-out metrics / gain in the training reward: 0 when both gain "
        "alike, 1 when nothing transfers, above 1 when the held-out metrics fall on average. It compares methods under "
        f"the same metrics and is no absolute measure. {DAGGER} Trained on it."
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
    digits = [_rough([found[j].difference for _, found in lines]) for j in range(len(diversities))]
    read = diversities if by_reward else [reward] * len(diversities)
    cells = [
        (
            names,
            tuple(_difference(one, facts, digit) for one, facts, digit in zip(found, read, digits, strict=True)),
        )
        for names, found in lines
    ]
    what = f"{reward.display}" if by_reward else "diversity"
    each = "each diversity" if by_reward else reward.display
    head = [d.display if by_reward else f"at equal {d.display}" for d in diversities]
    return Grid(
        f"Diversity at equal {what}" if by_reward else f"{reward.display} at equal diversity",
        f"A sweep is read as a curve, straight between its settings, at the point where its {what} equals that of "
        f"another method: the difference in {each} there, sweep minus method. Nothing is extrapolated: where not all "
        "resamples reach that point, the share that does is given, with no interval and no mark below 97.5 %.",
        ("Sweep", "Method", *head),
        tuple(cells),
        _reasons(one.difference for _, found in lines for one in found),
    )


def _cell(interval: Interval | None, digits: int, *, signed: bool = False, mark: str = "") -> CellText:
    if interval is None or not math.isfinite(interval.mean):
        return CellText(MISSING)
    return CellText(number(interval.mean, digits, signed), _range(interval, digits, signed), mark)


def _range(interval: Interval, digits: int, signed: bool) -> str:
    if not math.isfinite(interval.low):
        return ""
    return f"[{number(interval.low, digits, signed)}, {number(interval.high, digits, signed)}]"


def _difference(at_equal: AtEqual, facts: MetricFacts, digits: int) -> CellText:
    """The difference at equal reward or diversity; where not all resamples reach it, their share, and then no mark."""
    one, share = at_equal.difference, f"reached in {_percent(at_equal.inside)}" if at_equal.inside < 1 else ""
    if not math.isfinite(one.mean):
        return CellText(MISSING)
    value = number(one.mean, digits, True)
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return CellText(value, suffix=share)
    sign = "" if not one.excludes_zero else "▲" if (one.mean > 0) == facts.higher else "▼"
    return CellText(value, _range(one, digits, True), suffix=share, sign=sign, strong=bool(sign))


def _rough(column: Sequence[Interval]) -> int:
    """Digits of a column; without any interval two significant ones, since nothing says that more are known."""
    return decimals(column) if any(math.isfinite(one.low) for one in column) else max(0, decimals(column) - 2)


def _percent(share: float) -> str:
    """A share below one, never rounded up to all of them."""
    return f"{math.floor(1000 * share) / 10:.1f} %" if share > 0.99 else f"{100 * share:.0f} %"


def _reasons(intervals: Any) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(interval.reason for interval in intervals if interval.reason and not math.isfinite(interval.mean))
    )
