"""Two runs against each other: paired differences per metric, with the prompt as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._callable import make_callable
from bench.comparable import library_notes, require_comparable
from bench.runs import MetricFacts, Run, display_names, open_runs
from bench.stats import Interval, Paired, holm, paired_difference
from bench.summarise import ROUNDS, metric_interval, prompt_codes

if TYPE_CHECKING:
    import pandas as pd

_SET_REASON = "one value for the whole set: no pairs"


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
    def better(self) -> str:
        """Which side is better beyond its uncertainty."""
        if not self.interval.excludes_zero:
            return ""
        return "b" if (self.interval.mean > 0) == self.facts.higher else "a"


@dataclass(frozen=True)
class Comparison:
    """`table` has one row per metric; `text` is the same for a terminal."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """Columns metric, title, kind, direction, a, b, difference, ci_low, ci_high, p, p_holm, win_rate, n, ..."""
        import pandas as pd

        return pd.DataFrame([difference_row(one) for one in self.differences])

    @property
    def text(self) -> str:
        """The table for a terminal, with a line on how to read it."""
        from bench.report.tables import comparison_text

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
        "win_rate": one.paired.win_rate,
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
    """b - a on one metric that both runs have; set metrics have a difference but no pairs, hence no interval."""
    facts = a.metrics[metric]
    mean_a = metric_interval(a, metric, rounds, seed)
    mean_b = metric_interval(b, metric, rounds, seed)
    if facts.kind == "set":
        reason = mean_a.reason if math.isnan(mean_a.mean) else mean_b.reason if math.isnan(mean_b.mean) else _SET_REASON
        gap = Interval(mean_b.mean - mean_a.mean, math.nan, math.nan, min(mean_a.n, mean_b.n), 0, 0, reason)
        return Difference(facts, mean_a.mean, mean_b.mean, Paired(gap, math.nan, 0, 0, 0))
    rows = paired_rows(a, b, metric)
    before, after = rows["value_a"].to_numpy(dtype=np.float64), rows["value_b"].to_numpy(dtype=np.float64)
    paired = paired_difference(before, after, prompt_codes(a, rows), rounds, seed)
    return Difference(facts, mean_a.mean, mean_b.mean, paired)


def differences(a: Run, b: Run, rounds: int = ROUNDS, seed: int = 0) -> tuple[Difference, ...]:
    """b - a on every metric that both comparable runs have; p values also Holm-corrected over these metrics."""
    shared = [name for name in a.metrics if name in b.metrics]
    found = [difference(a, b, name, rounds, seed) for name in shared]
    corrected = holm([one.paired.p for one in found])
    return tuple(
        Difference(one.facts, one.a, one.b, one.paired, float(p)) for one, p in zip(found, corrected, strict=True)
    )


def compare(a: Any, b: Any, rounds: int = ROUNDS, seed: int = 0) -> Comparison:
    """Paired differences b - a between two runs (stores or run folders).

    NotComparableError: other suite, prompts, samples, sampling conditions or metric versions. Different seeds are
    allowed and noted, because pairing by prompt stays sound.
    """
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
    return Comparison(names[first.name], names[second.name], differences(first, second, rounds, seed), tuple(notes))


def _one_run(source: Any) -> Run:
    from bench.errors import UsageError

    runs, _, _ = open_runs(source)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:6])
        raise UsageError(f"{source} holds {len(runs)} runs ({names}): name one of their folders")
    return runs[0]


make_callable(__name__, compare)
