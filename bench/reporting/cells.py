"""What stands in a cell: numbers rounded by their uncertainty, intervals, marks. Plain text, not yet escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.analysis.differences import Difference
from bench.analysis.extrapolation import is_refused
from bench.analysis.in_reward import DAGGER as DAGGER
from bench.analysis.stats import Interval
from bench.analysis.table.rows import Row, Table
from bench.store.runs import MetricFacts

MISSING = "-"
NOT_ESTIMABLE = "not estimable at this N"
BEST = "Bold: better than every other method, the interval of each paired difference excludes zero."
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class CellText:
    """The printed parts of a cell: the number, its interval, its marks. All plain text."""

    value: str
    interval: str = ""
    mark: str = ""  # a dagger: trained on this metric
    suffix: str = ""  # n, where values are missing
    strong: bool = False
    sign: str = ""  # better or worse, in differences; hollow where it does not survive the correction

    @property
    def tone(self) -> str:
        """ "better" or "worse" as the sign says, with "unsure" where it is hollow; "" without a sign."""
        return _TONES.get(self.sign, "")


_TONES = {"▲": "better", "▼": "worse", "△": "better unsure", "▽": "worse unsure"}


def decimals(intervals: Iterable[Interval]) -> int:
    """Digits after the point for a column: two significant digits of the median half width, or four of the value.

    An interval that is open on one side has no half width.
    """
    kept = [interval for interval in intervals if math.isfinite(interval.mean)]
    halves = sorted((one.high - one.low) / 2 for one in kept if math.inf > one.high > one.low > -math.inf)
    if halves:
        return _clip(1 - math.floor(math.log10(halves[len(halves) // 2])))
    largest = max((abs(one.mean) for one in kept), default=0.0)
    return _clip(3 - math.floor(math.log10(largest))) if largest > 0 else 2


def _clip(digits: int) -> int:
    return min(6, max(0, digits))


def number(value: float, digits: int, signed: bool = False) -> str:
    """A number in print: fixed digits, a true minus sign, no minus zero, "-" for NaN."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        return f"{0:.{digits}f}"
    return text.replace("-", MINUS)


def range_text(interval: Interval, digits: int, signed: bool = False) -> str:
    """ "[0.12, 0.34]"; "" where there is no interval."""
    if not math.isfinite(interval.low):
        return ""
    return f"[{number(interval.low, digits, signed)}, {number(interval.high, digits, signed)}]"


def mean_cell(row: Row, facts: MetricFacts, digits: int, strong: bool = False) -> CellText:
    """The cell of a method and a metric; strong: significantly better than those of all other methods."""
    interval = row.cells.get(facts.name)
    if interval is None:
        return CellText(MISSING)
    suffix = f"n={interval.n}, {interval.n_unscored} unscored" if interval.n_unscored else ""
    mark = DAGGER if row.in_reward(facts.name) else ""
    return CellText(number(interval.mean, digits), range_text(interval, digits), mark, suffix, strong)


def difference_cell(difference: Difference | None, digits: int, mark: str = "") -> CellText:
    """The cell of a paired difference: signed better or worse when its interval excludes zero.

    Strong, with a full sign, only where that survives Holm's correction over the table; a hollow sign elsewhere.
    """
    if difference is None:
        return CellText(MISSING)
    interval = difference.interval
    strong, sign = difference.sure, better_sign(difference)
    digits = clear_of_zero(interval, digits)
    text = number(interval.mean, digits, signed=True)
    suffix = NOT_ESTIMABLE if not math.isfinite(interval.low) and is_refused(interval) else ""
    return CellText(text, range_text(interval, digits, signed=True), mark, suffix, strong, sign)


def better_sign(difference: Difference) -> str:
    """▲ better or ▼ worse; hollow (△ ▽) where that does not survive the correction over the table; "" for neither."""
    return {"": "", "a": "▼" if difference.sure else "▽", "b": "▲" if difference.sure else "△"}[difference.better]


def clear_of_zero(interval: Interval, digits: int) -> int:
    """Digits with which the limits of an interval that excludes zero do not round to it: one or two more, if any."""
    if not interval.excludes_zero:
        return digits
    limit = min(abs(interval.low), abs(interval.high))
    return next((more for more in range(digits, digits + 3) if round(limit, more) != 0), digits)


def mean_cells(table: Table) -> list[list[CellText]]:
    """Cells [methods][metrics] of the first table."""
    digits = [decimals(row.cells[f.name] for row in table.rows if f.name in row.cells) for f in table.metrics]
    winners = {metric: best.name for metric, best in table.best.items() if best.significant}
    return [
        [
            _with_n(mean_cell(row, f, d, winners.get(f.name) == row.name), row, f, table)
            for f, d in zip(table.metrics, digits, strict=True)
        ]
        for row in table.rows
    ]


def _with_n(cell: CellText, row: Row, facts: MetricFacts, table: Table) -> CellText:
    """A set metric's value with its own N, where the methods' differ: such values are never subtracted."""
    sizes = {row.run.n_images for row in table.rows if facts.name in row.cells}
    if facts.kind != "set" or len(sizes) < 2 or facts.name not in row.cells or cell.suffix:
        return cell
    return replace(cell, suffix=f"N={row.run.n_images:,}")


def difference_cells(table: Table) -> tuple[list[str], list[list[CellText]]]:
    """Names and cells [methods][metrics] of the second table: differences against the reference."""
    found = {
        name: {difference.facts.name: difference for difference in differences}
        for name, differences in table.differences.items()
    }
    digits = {
        f.name: decimals(differences[f.name].interval for differences in found.values() if f.name in differences)
        for f in table.metrics
    }
    rows = {row.name: row for row in table.rows}
    cells = [
        [
            difference_cell(differences.get(f.name), digits[f.name], DAGGER if rows[name].in_reward(f.name) else "")
            for f in table.metrics
        ]
        for name, differences in found.items()
    ]
    return list(found), cells


def header(facts: MetricFacts, table: Table, label: bool = True) -> str:
    """Title, label, direction, and N for set metrics, whose value depends on it; `label`: whether its label is said."""
    sizes = {row.run.n_images for row in table.rows if facts.name in row.cells}
    n = f", N={sizes.pop()}" if facts.kind == "set" and len(sizes) == 1 else ""
    return f"{facts.display if label else bare_title(facts)} {facts.arrow}{n}"


def bare_title(facts: MetricFacts) -> str:
    """The title without its label, for where that is said beside it."""
    return facts.title.replace(f" ({facts.label})", "") if facts.label else facts.title


def common_label(table: Table) -> str:
    """The label that all metrics have, which can be said once; "" where they differ or have none."""
    labels = {facts.label or "" for facts in table.metrics}
    return labels.pop() if len(labels) == 1 else ""
