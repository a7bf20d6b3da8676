"""How large each allowance has to be for the gate to pass when nothing changed, at the number of prompts there is.

The allowances are planned for all lines on drops together: each of m lines passes with probability POWER ** (1 / m), so
that all of them pass with POWER where they are independent, and more often where they rise and fall together (Sidak
1967).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.analysis.stats import POWER, Interval, minimum_detectable_effect, t_quantile
from bench.formatting import aligned
from bench.gate.bounds import drop_level
from bench.gate.changes import change_of, why_other
from bench.gate.rules import prompts_of
from bench.gate.summaries import Entry, Summary, read_summary
from bench.gate.thresholds import Bound, Thresholds


@dataclass(frozen=True, slots=True)
class Allowance:
    """Of one line on a drop: what is allowed, and what it takes if nothing changed.

    `needed`: with it all `lines` pass together with probability POWER. `prompts`: how many would do for what is
    allowed; infinite where nothing is allowed. `source`: what the error is of.
    """

    bound: Bound
    allowed: float
    needed: float
    prompts: float
    source: str
    lines: int = 1  # that are planned together


def allowances(limits: Thresholds, summaries: Sequence[Summary], baseline: Mapping[str, Any] | None) -> list[Allowance]:
    """Of every line on a drop whose method and metric have values."""
    before = {(one.suite, one.method): one for one in map(read_summary, (baseline or {}).get("summaries", []))}
    level = drop_level(limits, summaries)
    lines = [
        (bound, summary)
        for bound in limits.bounds
        for summary in summaries
        if bound.rule.startswith("max_drop") and summary.method == bound.method and bound.metric in summary.metrics
    ]
    power = POWER ** (1 / max(1, len(lines)))
    found = [_allowance(*line, before.get((line[1].suite, line[1].method)), level, power) for line in lines]
    return [replace(one, lines=len(lines)) for one in found]


def _allowance(bound: Bound, summary: Summary, then: Summary | None, level: float, power: float) -> Allowance:
    entry = summary.metrics[bound.metric]
    needed, source = _from_noise(entry, level, power)
    if then is not None and bound.metric in then.metrics and not why_other(summary, then, bound.metric):
        change = change_of(then, summary, bound.metric, level)
        if change.interval.high > change.interval.low:  # another seed: the very difference that is judged
            needed = minimum_detectable_effect(change.interval, level, power)
            source = "this difference to the baseline"
    if bound.rule == "max_drop_percent":
        needed *= 100 / abs(entry.mean) if entry.mean else math.nan
    prompts = prompts_of(summary, entry)
    more = prompts * (needed / bound.value) ** 2 if bound.value > 0 else math.inf
    return Allowance(bound, bound.value, needed, max(more, 2.0), source)


def _from_noise(entry: Entry, level: float, power: float) -> tuple[float, str]:
    """The largest drop that chance makes with another seed, of two runs with the same prompts."""
    if entry.units is None or entry.is_set or len(entry.units.prompts) < 2:
        return math.nan, "no other seed was run: not known of this metric"
    values, prompts = entry.units.values, len(entry.units.prompts)
    if values.shape[1] > 1:
        samples = np.isfinite(values).sum(axis=1)
        kept = samples > 1
        error = math.sqrt(2 * float(np.mean(np.nanvar(values[kept], axis=1, ddof=1) / samples[kept])) / prompts)
        source = "the spread of the images of a prompt"
    else:
        error = math.sqrt(2 * float(np.nanvar(values, ddof=1)) / prompts)
        source = "the spread of the prompts, which is more than that of the seeds"
    half = t_quantile(0.5 + level / 2, prompts - 1) * error
    return minimum_detectable_effect(Interval(0.0, -half, half, prompts, 0, prompts), level, power), source


def allowances_text(allowances: Sequence[Allowance]) -> str:
    """A line a drop, for a terminal."""
    if not allowances:
        return "no line on a drop: nothing to plan\n"
    rows = []
    for allowance in allowances:
        unit = " %" if allowance.bound.rule == "max_drop_percent" else ""
        known = math.isfinite(allowance.needed)
        enough = "passes" if known and allowance.needed <= allowance.allowed else "too small" if known else "unknown"
        prompts = f"{math.ceil(allowance.prompts):,}" if known and math.isfinite(allowance.prompts) else "-"
        allowed, needed = f"{allowance.allowed:g}{unit}", f"{allowance.needed:.3g}{unit}" if known else "-"
        rows.append(
            [
                allowance.bound.method,
                f"{allowance.bound.metric} {allowance.bound.rule}",
                allowed,
                needed,
                enough,
                prompts,
                allowance.source,
            ]
        )
    head = ["method", "line", "allowed", "needed", "", "prompts", "from"]
    lines = allowances[0].lines
    which = "this line passes" if lines == 1 else f"all {lines} lines pass together"
    told = (
        f"needed: the allowance with which {which} with {POWER:.0%} probability when only the seed changed; "
        "prompts: how many it takes for what is allowed\n"
    )
    return aligned(head, rows, left=2) + told
