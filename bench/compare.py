"""Two runs against each other: paired differences per metric and per prompt tag, with the prompt as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._callable import make_callable
from bench.comparable import library_notes, require_comparable
from bench.runs import MetricFacts, Run, display_names, open_runs
from bench.stats import Interval, Paired, holm, jackknife_interval, minimum_detectable_effect, paired_difference
from bench.summarise import ROUNDS, left_out_values, metric_interval, prompt_codes, prompt_means, unscored_reason

if TYPE_CHECKING:
    import pandas as pd

    from bench.judging.tags import TagDifference

_SET_REASON = "one value for the whole set: no pairs"
TOP = 3


@dataclass(frozen=True)
class Difference:
    """b - a on one metric. `better` is "a" or "b" when the interval excludes zero, else ""."""

    facts: MetricFacts
    a: float
    b: float
    paired: Paired
    p_holm: float = math.nan

    @property
    def interval(self) -> Interval:
        """The mean difference b - a with its interval, in the metric's unit."""
        return self.paired.interval

    @property
    def win_rate(self) -> float:
        """Share of pairs in which b is better in the metric's direction, ties half, in [0, 1]; NaN without pairs."""
        return self.paired.win_rate if self.facts.higher else 1 - self.paired.win_rate

    @property
    def better(self) -> str:
        """Which side is better beyond its uncertainty."""
        if not self.interval.excludes_zero:
            return ""
        return "b" if (self.interval.mean > 0) == self.facts.higher else "a"


@dataclass(frozen=True)
class Change:
    """One prompt's means on both sides."""

    facts: MetricFacts
    prompt_id: str
    text: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """`table` has one row per metric, `tag_table` one per metric and tag; `text` is all of it for a terminal."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    tags: tuple[TagDifference, ...] = ()
    changed: tuple[Change, ...] = ()  # per metric the prompts that changed most, the largest change first

    @property
    def table(self) -> pd.DataFrame:
        """Columns metric, title, kind, direction, a, b, difference, ci_low, ci_high, p, p_holm, win_rate, n, ..."""
        import pandas as pd

        return pd.DataFrame([difference_row(one) for one in self.differences])

    @property
    def tag_table(self) -> pd.DataFrame:
        """The columns of `table` with tag and prompts before them."""
        import pandas as pd

        rows = [{"tag": one.tag, "prompts": one.prompts, **difference_row(one.difference)} for one in self.tags]
        return pd.DataFrame(rows)

    @property
    def text(self) -> str:
        """The tables for a terminal, with a line on how to read them."""
        from bench.judging.texts import comparison_text

        return comparison_text(self)


def difference_row(one: Difference) -> dict[str, Any]:
    """A difference as plain values, one row of the table."""
    interval = one.interval
    return {
        "metric": one.facts.name,
        "title": one.facts.display,
        "kind": one.facts.kind,
        "direction": one.facts.direction,
        "a": one.a,
        "b": one.b,
        "difference": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": one.paired.p,
        "p_holm": one.p_holm,
        "win_rate": one.win_rate,
        "mde": one.paired.mde,
        "n": interval.n,
        "n_unscored": interval.n_unscored,
        "better": one.better,
        "reason": interval.reason,
    }


def paired_rows(a: Run, b: Run, metric: str) -> pd.DataFrame:
    """Rows of both runs joined on (prompt_id, sample): prompt_id, sample, value_a, value_b.

    Group metrics have no sample and join on the prompt alone. A pair that one side lacks has NaN there.
    """
    keys = ["prompt_id", "sample"]
    left, right = a.rows(metric)[[*keys, "value"]], b.rows(metric)[[*keys, "value"]]
    joined = left.merge(right, on=keys, how="outer", suffixes=("_a", "_b"))
    return joined.sort_values(keys, kind="stable", ignore_index=True)


def difference(a: Run, b: Run, metric: str, rounds: int = ROUNDS, seed: int = 0) -> Difference:
    """b - a on one metric that both runs have. Set metrics are paired by their jackknife blocks, if both have them."""
    facts = a.metrics[metric]
    mean_a = metric_interval(a, metric, rounds, seed)
    mean_b = metric_interval(b, metric, rounds, seed)
    if facts.kind == "set":
        return _set_difference(a, b, facts, mean_a, mean_b)
    rows = paired_rows(a, b, metric)
    before, after = rows["value_a"].to_numpy(dtype=np.float64), rows["value_b"].to_numpy(dtype=np.float64)
    paired = paired_difference(before, after, prompt_codes(a, rows), rounds, seed)
    return Difference(facts, mean_a.mean, mean_b.mean, paired)


def _set_difference(a: Run, b: Run, facts: MetricFacts, mean_a: Interval, mean_b: Interval) -> Difference:
    gap, n = mean_b.mean - mean_a.mean, min(mean_a.n, mean_b.n)
    before, after = left_out_values(a, facts.name), left_out_values(b, facts.name)
    if a.prompts == b.prompts and len(before) == len(after) > 1 and math.isfinite(gap):
        interval = jackknife_interval(gap, np.asarray(after) - np.asarray(before), n)
    else:
        reason = mean_a.reason if math.isnan(mean_a.mean) else mean_b.reason if math.isnan(mean_b.mean) else _SET_REASON
        interval = Interval(gap, math.nan, math.nan, n, 0, 0, reason)
    paired = Paired(interval, math.nan, 0, 0, 0, minimum_detectable_effect(interval))
    return Difference(facts, mean_a.mean, mean_b.mean, paired)


def changed_most(a: Run, b: Run, top: int = TOP) -> tuple[Change, ...]:
    """Per metric the `top` prompts whose means differ most, the largest first; prompts that did not change are none."""
    texts = dict(a.prompts)
    found: list[Change] = []
    for name in (name for name in a.metrics if name in b.metrics):
        before, after = prompt_means(a, name), prompt_means(b, name)
        common = [prompt for prompt in before if prompt in after and before[prompt] != after[prompt]]
        common.sort(key=lambda prompt: (-abs(after[prompt] - before[prompt]), prompt))
        found += [Change(a.metrics[name], p, texts.get(p, ""), before[p], after[p]) for p in common[:top]]
    return tuple(found)


def differences(a: Run, b: Run, rounds: int = ROUNDS, seed: int = 0) -> tuple[Difference, ...]:
    """b - a on every metric that both comparable runs have; p values also Holm-corrected over these metrics."""
    shared = [name for name in a.metrics if name in b.metrics]
    found = [difference(a, b, name, rounds, seed) for name in shared]
    corrected = holm([one.paired.p for one in found])
    return tuple(
        Difference(one.facts, one.a, one.b, one.paired, float(p)) for one, p in zip(found, corrected, strict=True)
    )


def compare(a: Any, b: Any, rounds: int = ROUNDS, seed: int = 0, top: int = TOP) -> Comparison:
    """Paired differences b - a between two runs (stores or run folders), per metric and per prompt tag.

    `top`: how many of the prompts that changed most are listed per metric.

    NotComparableError: other suite, prompts, samples, sampling conditions or metric versions. Different seeds are
    allowed and noted, because pairing by prompt stays sound.
    """
    from bench.judging.tags import tag_differences

    first, second = _one_run(a), _one_run(b)
    require_comparable([first, second], seeds=False)
    notes = []
    if first.conditions.get("seed") != second.conditions.get("seed"):
        seeds = f"{first.conditions.get('seed')} and {second.conditions.get('seed')}"
        notes.append(f"the runs have different seeds ({seeds}): paired by prompt, but not on the same noise")
    one_sided = sorted(first.metrics.keys() ^ second.metrics.keys())
    if one_sided:
        notes.append(f"scored in one run only, so not compared: {', '.join(one_sided)}")
    notes += library_notes([first, second])
    names = display_names([first, second])
    notes += [note for run, name in zip((first, second), names, strict=True) for note in unscored_notes(run, name)]
    return Comparison(
        names[0],
        names[1],
        differences(first, second, rounds, seed),
        tuple(notes),
        tag_differences(first, second, rounds, seed),
        changed_most(first, second, top),
    )


def unscored_notes(run: Run, name: str) -> list[str]:
    """A sentence for every metric of which values could not be computed; `name` is the run's in print."""
    notes = []
    for metric, facts in run.metrics.items():
        rows = run.rows(metric)
        values = rows.loc[rows["sample"].isna(), "value"] if facts.kind == "set" else rows["value"]
        lost = int((~np.isfinite(values.to_numpy(dtype=np.float64))).sum())
        if lost:
            reason = unscored_reason(run, metric)
            why = f", for instance: {reason}" if reason else ""
            notes.append(f"{facts.display} of {name}: {lost} of {len(values)} values unscored{why}")
    return notes


def _one_run(source: Any) -> Run:
    from bench.errors import UsageError

    runs, _, _ = open_runs(source)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:6])
        raise UsageError(f"{source} holds {len(runs)} runs ({names}): name one of their folders")
    return runs[0]


make_callable(__name__, compare)
