"""Joint dominance, interquartile means, narrowed means and performance profiles in print.

The numbers are those of `bench.analysis.table.robust_rows`; here they become tables of text and a picture per metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.analysis.robust import Profile
from bench.analysis.stats import Interval
from bench.analysis.table.robust_rows import Robust
from bench.analysis.table.rows import Table
from bench.formatting import counted, escape_markdown, markdown_table
from bench.reporting.cells import DAGGER, MISSING, CellText, decimals, number, range_text
from bench.reporting.style import looks
from bench.reporting.tradeoff import Grid

_WIDE, _HIGH = 260.0, 130.0  # of a picture's axes
_DASHES = ("", "5 3", "2 2", "8 3 2 3")  # of methods with one colour, such as the settings of a sweep


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one method, as points of SVG: "x,y x,y ..." with its band around it."""

    name: str
    colour: str
    dash: str
    points: str
    band: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The profile of one metric; `ticks` are (x, text) on the axis of scores."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[str, str], ...]


def robust_grids(table: Table, robust: Robust) -> list[Grid]:
    """The tables, those that have something to say."""
    return [grid for grid in (_dominance(table, robust), _middles(table, robust), _narrowed(table, robust)) if grid]


def _dominance(table: Table, robust: Robust) -> Grid | None:
    if not robust.rates:
        return None
    titles = {facts.name: facts.display for facts in table.metrics}
    rows = {row.name: row for row in table.rows}
    sets = dict.fromkeys(rates.metrics for rates in robust.rates.values())
    named = "; ".join(f"K = {len(one)}: {', '.join(titles[name] for name in one)}" for one in sets)
    lines = []
    for name, rates in robust.rates.items():
        trained = ", ".join(titles[one] for one in rates.metrics if rows[name].in_reward(one))
        cells = _percent(rates.dominates), _percent(rates.dominated)
        lines.append(((name, str(len(rates.metrics)), trained or MISSING), cells))
    return Grid(
        f"Joint dominance over {table.reference}",
        f"JDR: share of images that are at least as good as the image of {table.reference} with the same prompt and "
        f"noise in all of K image metrics, and better in one; JCR: the reverse, joint collapse (arXiv 2605.13155). "
        f"With 95 % intervals over prompts. {named}. A metric that a method was trained on counts as well, and is "
        "named.",
        ("Method", "K", "Trained on", "JDR ↑", "JCR ↓"),
        tuple(lines),
    )


def _percent(interval: Interval) -> CellText:
    if not math.isfinite(interval.mean):
        return CellText(MISSING, suffix=interval.reason or "")
    lost = f"n={interval.n}, {interval.n_unscored} unscored" if interval.n_unscored else ""
    limits = f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]" if math.isfinite(interval.low) else ""
    return CellText(f"{100 * interval.mean:.1f} %", limits, suffix=lost)


def _middles(table: Table, robust: Robust) -> Grid | None:
    if not any(robust.middles.values()):
        return None
    return Grid(
        "Interquartile means",
        "Mean of the middle half of the prompts, with the jackknife's 95 % interval over prompts (Agarwal et al. 2021, "
        "arXiv 2108.13264): a few extreme prompts do not move it. Where it and the mean disagree, few prompts carry "
        f"the difference. {DAGGER} Trained on it.",
        ("Method", *(f"{facts.display} {facts.arrow}" for facts in robust.metrics)),
        _lines(table, robust, robust.middles),
        _reasons(robust.middles),
    )


def _narrowed(table: Table, robust: Robust) -> Grid | None:
    if robust.larger is None:
        return None
    prompts, few = len(robust.larger.prompts), len(table.rows[0].run.prompts)
    return Grid(
        f"Means over {prompts:,} prompts, by {table.reference}",
        f"{robust.larger.name} has {prompts:,} prompts. If the {counted(few, 'prompt')} of this report are a random "
        f"part of them, then how {table.reference} scores on both says how lucky the part was, and that is taken off "
        "the other methods' means (control variate; Cochran 1977). Shown where the 95 % interval is narrower by a "
        "tenth; the tables above do not use it.",
        ("Method", *(f"{facts.display} {facts.arrow}" for facts in robust.metrics)),
        _lines(table, robust, robust.narrowed),
    )


def _lines(
    table: Table, robust: Robust, cells: Mapping[str, Mapping[str, Interval]]
) -> tuple[tuple[tuple[str, ...], tuple[CellText, ...]], ...]:
    digits = {f.name: decimals(own[f.name] for own in cells.values() if f.name in own) for f in robust.metrics}
    lines = []
    for row in (row for row in table.rows if cells.get(row.name)):
        own = cells[row.name]
        line = (_cell(own.get(f.name), digits[f.name], row.in_reward(f.name)) for f in robust.metrics)
        lines.append(((row.name,), tuple(line)))
    return tuple(lines)


def _cell(interval: Interval | None, digits: int, trained: bool) -> CellText:
    if interval is None or not math.isfinite(interval.mean):
        return CellText(MISSING)
    lost = f"{interval.n_unscored} unscored" if interval.n_unscored else ""
    return CellText(number(interval.mean, digits), range_text(interval, digits), DAGGER if trained else "", lost)


def _reasons(cells: Mapping[str, Mapping[str, Interval]]) -> tuple[str, ...]:
    found = (one.reason for own in cells.values() for one in own.values() if one.reason and math.isnan(one.low))
    return tuple(dict.fromkeys(found))


def pictures(table: Table, robust: Robust) -> list[Picture]:
    """The performance profiles, one a metric."""
    names = [row.name for row in table.rows]
    colours = {name: look[0] for name, look in looks(names).items()}
    dashes: dict[str, str] = {}
    for name in names:
        alike = sum(colours[other] == colours[name] for other in dashes)
        dashes[name] = _DASHES[alike % len(_DASHES)]
    made = []
    for facts in robust.metrics:
        profiles = robust.profiles.get(facts.name, {})
        if not profiles:
            continue
        lines = tuple(
            Line(name, colours[name], dashes[name], _points(one, one.share), _points(one, one.low, one.high))
            for name, one in profiles.items()
        )
        made.append(Picture(f"{facts.display} {facts.arrow}", lines, _ticks(next(iter(profiles.values())).scores)))
    return made


def _points(profile: Profile, *edges: np.ndarray) -> str:
    """One curve from left to right, and a second one back."""
    x = _WIDE * (profile.scores - profile.scores[0]) / np.ptp(profile.scores)
    there = [f"{a:.1f},{_HIGH * (1 - b):.1f}" for a, b in zip(x, edges[0], strict=True)]
    back = [f"{a:.1f},{_HIGH * (1 - b):.1f}" for a, b in zip(x[::-1], edges[1][::-1], strict=True)] if edges[1:] else []
    return " ".join([*there, *back])


def _ticks(scores: np.ndarray) -> tuple[tuple[str, str], ...]:
    """Both ends and the middle."""
    digits = max(0, 1 - math.floor(math.log10(float(np.ptp(scores)))))
    ends = (scores[0], (scores[0] + scores[-1]) / 2, scores[-1])
    return tuple((f"{_WIDE * i / 2:.0f}", number(float(one), digits)) for i, one in enumerate(ends))


def robust_markdown(table: Table, robust: Robust) -> list[str]:
    """Lines of table.md; [] where there is nothing."""
    lines: list[str] = []
    for grid in robust_grids(table, robust):
        names = len(grid.lines[0][0])
        body = [[*map(escape_markdown, own), *map(_markdown_cell, cells)] for own, cells in grid.lines]
        lines += ["", f"### {escape_markdown(grid.title)}", "", escape_markdown(grid.explanation), ""]
        lines += markdown_table([*map(escape_markdown, grid.head)], body, right=range(names, len(grid.head)))
        if grid.reasons:
            lines += ["", escape_markdown(f"Empty: {'; '.join(grid.reasons)}.")]
    told = ["", *(f"- {escape_markdown(note)}" for note in robust.notes)] if robust.notes else []
    return ["## Beside the means", *lines, *told] if lines or told else []


def _markdown_cell(cell: CellText) -> str:
    suffix = f"({cell.suffix})" if cell.suffix else ""
    return " ".join(part for part in (cell.value + cell.mark, cell.interval, suffix) if part)


def robust_records(robust: Robust) -> list[dict[str, Any]]:
    """Rows of robust.csv: summary (jdr, jcr, interquartile_mean, narrowed_mean), method, metrics, value and limits."""
    found: list[dict[str, Any]] = []
    for name, rates in robust.rates.items():
        found.append(_record("jdr", name, " ".join(rates.metrics), rates.dominates))
        found.append(_record("jcr", name, " ".join(rates.metrics), rates.dominated))
    for what, cells in (("interquartile_mean", robust.middles), ("narrowed_mean", robust.narrowed)):
        found += [_record(what, name, metric, one) for name, own in cells.items() for metric, one in own.items()]
    return found


def _record(what: str, method: str, metrics: str, one: Interval) -> dict[str, Any]:
    values = {"value": one.mean, "ci_low": one.low, "ci_high": one.high, "n": one.n, "n_unscored": one.n_unscored}
    return {"summary": what, "method": method, "metrics": metrics, **values, "reason": one.reason}


def profile_records(profiles: Mapping[str, Mapping[str, Profile]]) -> list[dict[str, Any]]:
    """Rows of profiles.csv: the share of prompts with at least a score."""
    names = "score", "share", "ci_low", "ci_high"
    return [
        {"metric": metric, "method": name, **dict(zip(names, map(float, values), strict=True))}
        for metric, own in profiles.items()
        for name, one in own.items()
        for values in zip(one.scores, one.share, one.low, one.high, strict=True)
    ]


def robust_section(table: Table, robust: Robust) -> Mapping[str, Any] | None:
    """What the page's section is filled with."""
    grids: Sequence[Grid] = robust_grids(table, robust)
    drawn = pictures(table, robust)
    if not grids and not drawn:
        return None
    return {"grids": grids, "pictures": drawn, "told": robust.notes, "wide": _WIDE, "high": _HIGH}
