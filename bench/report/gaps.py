"""Paired differences of all methods against one, with Holm's correction over the whole table that is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.compare import Difference, differences, paired_rows
from bench.stats import Interval, cluster_sums, holm, sign_flip_p, t_quantile
from bench.summarise import prompt_codes

if TYPE_CHECKING:
    from bench.report.model import Row

LEVEL = 0.05
_FLIPS_PER_TEST = 80  # the smallest sampled p is 1 / (flips + 1), and Holm multiplies it by the number of tests
_SAMPLED = 2000  # flips that `bench.compare` takes at least


def gaps_against(base: Row, rows: Sequence[Row], rounds: int, seed: int = 0) -> dict[str, tuple[Difference, ...]]:
    """Name -> row minus base on every metric that both have; `p_holm` is corrected over all cells together.

    Set metrics enter with Student's t of their jackknife blocks; values without an interval are no test.
    """
    found = {row.name: differences(base.run, row.run, rounds, seed) for row in rows if row is not base}
    keys = [(row, i) for row in rows if row is not base for i in range(len(found[row.name]))]
    flips = _FLIPS_PER_TEST * len(keys)
    p = [_p(base, row, found[row.name][i], flips, seed) for row, i in keys]
    corrected: dict[str, list[Difference]] = {name: [] for name in found}
    for (row, i), own, adjusted in zip(keys, p, holm(p).tolist(), strict=True):
        one = found[row.name][i]
        corrected[row.name].append(replace(one, paired=replace(one.paired, p=own), p_holm=adjusted))
    return {name: tuple(line) for name, line in corrected.items()}


def survives(one: Difference) -> bool:
    """True when the difference is significant after the correction, and its interval says so as well."""
    return one.interval.excludes_zero and one.p_holm < LEVEL


def _p(base: Row, row: Row, one: Difference, flips: int, seed: int) -> float:
    """Two-sided p; drawn anew with `flips` where 2,000 are too few to survive a correction over so many tests."""
    if one.facts.kind == "set":
        return jackknife_p(one.interval)
    if flips <= _SAMPLED or not one.paired.p < LEVEL:
        return one.paired.p
    pairs = paired_rows(base.run, row.run, one.facts.name)
    gaps = pairs["value_b"].to_numpy(dtype=np.float64) - pairs["value_a"].to_numpy(dtype=np.float64)
    return sign_flip_p(cluster_sums(gaps, prompt_codes(base.run, pairs))[0], flips, seed)


def jackknife_p(interval: Interval) -> float:
    """Two-sided p that a mean with a 95 % Student's t interval over `clusters` blocks is zero; NaN without one."""
    half = (interval.high - interval.low) / 2
    if not math.isfinite(half) or interval.clusters < 2:
        return math.nan
    if half == 0:
        return float(interval.mean == 0)
    from scipy.special import stdtr

    freedom = interval.clusters - 1
    return float(2 * stdtr(freedom, -abs(interval.mean) / half * t_quantile(0.975, freedom)))
