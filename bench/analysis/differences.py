"""Paired differences of two runs, one metric at a time, with the prompt as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.stats import (
    Interval,
    Paired,
    holm,
    jackknife_interval,
    minimum_detectable_effect,
    paired_difference,
)
from bench.analysis.summary import N_RESAMPLES, left_out_values, metric_interval, prompt_codes
from bench.store.runs import MetricFacts, Run

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
    def win_rate(self) -> float:
        """Share of pairs in which b is better in the metric's direction, ties half, in [0, 1]; NaN without pairs."""
        return self.paired.win_rate if self.facts.higher else 1 - self.paired.win_rate

    @property
    def better(self) -> str:
        """Which side is better beyond its uncertainty."""
        if not self.interval.excludes_zero:
            return ""
        return "b" if (self.interval.mean > 0) == self.facts.higher else "a"


def difference_row(difference: Difference) -> dict[str, Any]:
    """A difference as plain values, one row of the table."""
    interval = difference.interval
    return {
        "metric": difference.facts.name,
        "title": difference.facts.display,
        "kind": difference.facts.kind,
        "direction": difference.facts.direction,
        "a": difference.a,
        "b": difference.b,
        "difference": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": difference.paired.p,
        "p_holm": difference.p_holm,
        "win_rate": difference.win_rate,
        "mde": difference.paired.mde,
        "n": interval.n,
        "n_unscored": interval.n_unscored,
        "better": difference.better,
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


def difference(a: Run, b: Run, metric: str, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Difference:
    """b - a on one metric that both runs have. Set metrics are paired by their jackknife blocks, if both have them."""
    facts = a.metrics[metric]
    mean_a = metric_interval(a, metric, n_resamples, seed)
    mean_b = metric_interval(b, metric, n_resamples, seed)
    if facts.kind == "set":
        return _set_difference(a, b, facts, mean_a, mean_b)
    rows = paired_rows(a, b, metric)
    before, after = rows["value_a"].to_numpy(dtype=np.float64), rows["value_b"].to_numpy(dtype=np.float64)
    paired = paired_difference(before, after, prompt_codes(a, rows), n_resamples, seed)
    return Difference(facts, mean_a.mean, mean_b.mean, paired)


def _set_difference(a: Run, b: Run, facts: MetricFacts, mean_a: Interval, mean_b: Interval) -> Difference:
    difference, n = mean_b.mean - mean_a.mean, min(mean_a.n, mean_b.n)
    before, after = left_out_values(a, facts.name), left_out_values(b, facts.name)
    if a.prompts == b.prompts and len(before) == len(after) > 1 and math.isfinite(difference):
        interval = jackknife_interval(difference, np.asarray(after) - np.asarray(before), n)
    else:
        reason = mean_a.reason if math.isnan(mean_a.mean) else mean_b.reason if math.isnan(mean_b.mean) else _SET_REASON
        interval = Interval(difference, math.nan, math.nan, n, 0, 0, reason)
    paired = Paired(interval, math.nan, 0, 0, 0, minimum_detectable_effect(interval))
    return Difference(facts, mean_a.mean, mean_b.mean, paired)


def differences(a: Run, b: Run, n_resamples: int = N_RESAMPLES, seed: int = 0) -> tuple[Difference, ...]:
    """b - a on every metric that both comparable runs have; p values also Holm-corrected over these metrics."""
    shared = [name for name in a.metrics if name in b.metrics]
    found = [difference(a, b, name, n_resamples, seed) for name in shared]
    corrected = holm([one.paired.p for one in found])
    return tuple(
        Difference(one.facts, one.a, one.b, one.paired, float(p)) for one, p in zip(found, corrected, strict=True)
    )
