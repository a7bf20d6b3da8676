"""What is said of a table's methods beside their means: interquartile means, profiles, dominance, narrowed means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.analysis.comparable import why_not_comparable
from bench.analysis.estimand import Units, paired_by_sample, units_of
from bench.analysis.intervals import cluster_mean
from bench.analysis.robust import (
    DominanceRates,
    Profile,
    control_variate,
    dominance_rates,
    interquartile_mean,
    performance_profile,
)
from bench.analysis.stats import Interval
from bench.analysis.summary import metric_interval
from bench.analysis.table.rows import Row, Table
from bench.store.runs import MetricFacts, Run

GRID = 41  # scores of a profile
_SURELY = 0.001  # p below which the prompts are no random part of the larger set


@dataclass(frozen=True)
class Robust:
    """Per method's name, then per metric. Set metrics have one value for all images and are in none of it."""

    metrics: tuple[MetricFacts, ...]
    middles: dict[str, dict[str, Interval]] = field(default_factory=dict)  # interquartile means
    profiles: dict[str, dict[str, Profile]] = field(default_factory=dict)  # metric -> method -> profile
    rates: dict[str, DominanceRates] = field(default_factory=dict)  # over the reference
    narrowed: dict[str, dict[str, Interval]] = field(default_factory=dict)  # means where a control variate narrows them
    larger: Run | None = None  # the reference on more prompts, whose means narrowed them
    notes: tuple[str, ...] = ()


def robust_of(table: Table, larger: Run | None = None) -> Robust:
    """Of all rows of a table; `larger` is the reference on a larger prompt set (`larger_reference`)."""
    metrics = tuple(facts for facts in table.metrics if facts.kind != "set")
    units = {
        (row.name, facts.name): units_of(row.run, facts.name)
        for row in table.rows
        for facts in metrics
        if facts.name in row.run.metrics
    }
    middles = {
        row.name: {
            facts.name: interquartile_mean(one.prompt_means, one.clusters, one.bounds)
            for facts in metrics
            if (one := units.get((row.name, facts.name))) is not None
        }
        for row in table.rows
    }
    profiles = {facts.name: _profiles(table.rows, facts, units) for facts in metrics}
    rates, notes = _rates(table, units)
    narrowed, told = _narrowed(table, units, larger)
    used = larger if any(narrowed.values()) else None
    return Robust(metrics, middles, profiles, rates, narrowed, used, (*notes, *told))


def _profiles(rows: Sequence[Row], facts: MetricFacts, units: dict[tuple[str, str], Units]) -> dict[str, Profile]:
    """At the same scores for all methods, from the smallest to the largest mean of a prompt."""
    found = {row.name: units[row.name, facts.name] for row in rows if (row.name, facts.name) in units}
    values = np.concatenate([one.prompt_means for one in found.values()]) if found else np.zeros(0)
    values = values[np.isfinite(values)]
    if values.size < 2 or not np.ptp(values) > 0:
        return {}
    grid = np.linspace(values.min(), values.max(), GRID)
    return {
        name: performance_profile(one.prompt_means, grid, one.clusters)
        for name, one in found.items()
        if np.isfinite(one.prompt_means).any()
    }


def _rates(table: Table, units: dict[tuple[str, str], Units]) -> tuple[dict[str, DominanceRates], list[str]]:
    """Joint dominance and collapse over the reference, image by image, in all image metrics that both have."""
    base = next((row for row in table.rows if row.name == table.reference), None)
    if base is None:
        return {}, []
    found, notes = {}, []
    for row in (row for row in table.rows if row is not base):
        shared = [f for f in table.metrics if f.kind == "image" and {f.name} <= row.cells.keys() & base.cells.keys()]
        if len(shared) < 2:
            notes.append(f"no joint dominance of {row.name}: it takes two image metrics that {base.name} has as well")
            continue
        a, b = ([units[one.name, facts.name] for facts in shared] for one in (base, row))
        if not paired_by_sample(a[0], b[0]) or a[0].values.shape != b[0].values.shape:
            why = "nothing on record says that their images share their noise, so that they are no pairs"
            if a[0].coupled or b[0].coupled:
                why = "the images of a prompt depend on each other, so that single images are no pairs"
            notes.append(f"no joint dominance of {row.name} over {base.name}: {why}")
            continue
        higher = [facts.higher for facts in shared]
        names = [facts.name for facts in shared]
        first, second = ([one.values for one in side] for side in (a, b))
        found[row.name] = dominance_rates(first, second, a[0].clusters, names, higher)
    return found, notes


def larger_reference(kept: Sequence[Run], others: Sequence[Run], reference: str) -> Run | None:
    """Of the runs that are not in a table, the reference on the most prompts that hold all of the table's prompts.

    It differs from the table's own reference in nothing but the prompts.
    """
    base = next((run for run in kept if run.method == reference), None)
    if base is None:
        return None
    fitting = [run for run in others if run.method == reference and _larger(base, run)]
    return max(fitting, key=lambda run: (len(run.prompts), run.name), default=None)


def _larger(base: Run, run: Run) -> bool:
    if not set(base.prompts) < set(run.prompts) or base.checkpoint != run.checkpoint:
        return False
    return why_not_comparable(base, replace(run, prompts=base.prompts), metrics=list(base.metrics)) is None


def _narrowed(
    table: Table, units: dict[tuple[str, str], Units], larger: Run | None
) -> tuple[dict[str, dict[str, Interval]], list[str]]:
    base = next((row for row in table.rows if row.name == table.reference), None)
    if base is None or larger is None:
        return {}, []
    found: dict[str, dict[str, Interval]] = {row.name: {} for row in table.rows}
    notes = []
    for facts in (facts for facts in table.metrics if (base.name, facts.name) in units):
        if facts.name not in larger.metrics:
            continue
        few, many = units[base.name, facts.name], units_of(larger, facts.name)
        why = _not_a_part(few, many)
        if why:
            notes.append(f"{facts.display}: means are not narrowed by {larger.name}, because {why}")
            continue
        found[base.name][facts.name] = metric_interval(larger, facts.name)
        for row in (row for row in table.rows if row is not base and (row.name, facts.name) in units):
            mine = units[row.name, facts.name]
            one = control_variate(mine.prompt_means, few.prompt_means, many.prompt_means, mine.bounds)
            if one is not None:
                found[row.name][facts.name] = replace(one, n=mine.n)
    if not any(cells for name, cells in found.items() if name != base.name):
        return {}, notes
    return found, notes


def _not_a_part(few: Units, many: Units) -> str:
    """Why the prompts of a table cannot be taken for a random part of the larger set, as a clause; "" if they can."""
    for one in (few, many):
        if not np.isfinite(one.values).all():
            return "values are missing"
        if np.unique(one.clusters).size < one.clusters.size:
            return "some prompts have the same text or tag"
    others = [row for row, prompt in enumerate(many.prompts) if prompt not in set(few.prompts)]
    rest = many.prompt_means[others]
    a, b = (cluster_mean(values, np.arange(values.size), few.bounds).interval() for values in (few.prompt_means, rest))
    if not np.isfinite([a.low, b.low]).all():
        return "there is no interval of the reference's means"
    p = _two_samples(few.prompt_means, rest)
    return f"the reference scores otherwise on the other prompts (p = {p:.1g})" if p < _SURELY else ""


def _two_samples(a: np.ndarray, b: np.ndarray) -> float:
    """Welch's two-sided p that two sets of prompts have the same mean."""
    from scipy.stats import ttest_ind

    return float(ttest_ind(a, b, equal_var=False).pvalue)
