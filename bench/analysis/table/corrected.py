"""Paired differences of all methods against one, with Holm's correction over the whole table that is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.differences import Difference, differences, paired_rows
from bench.analysis.stats import Floats, Interval, cluster_sums, holm, sign_flip_p, t_quantile
from bench.analysis.summary import prompt_codes

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row

LEVEL = 0.05
_FLIPS_PER_TEST = 80  # the smallest sampled p is 1 / (flips + 1), and Holm multiplies it by the number of tests
_SAMPLED = 2000  # flips that `bench.compare` takes at least
_LISTED = 12  # up to so many prompts `sign_flip_p` lists all signs
_CELLS = 2_000_000  # signs held at once: 16 MB


def differences_against(
    base: Row, rows: Sequence[Row], n_resamples: int, seed: int = 0
) -> dict[str, tuple[Difference, ...]]:
    """Name -> row minus base on every metric that both have; `p_holm` is corrected over all cells together.

    Set metrics enter with Student's t of their jackknife blocks; values without an interval are no test.
    """
    found = {row.name: differences(base.run, row.run, n_resamples, seed) for row in rows if row is not base}
    keys = [(row, i) for row in rows if row is not base for i in range(len(found[row.name]))]
    tests = [(row, found[row.name][i]) for row, i in keys]
    p = [jackknife_p(one.interval) if one.facts.kind == "set" else one.paired.p for _, one in tests]
    if _FLIPS_PER_TEST * len(tests) > _SAMPLED:
        again = [k for k, (_, one) in enumerate(tests) if one.facts.kind != "set" and one.paired.p < LEVEL]
        sums = [_prompt_sums(base, *tests[k]) for k in again]
        for k, drawn in zip(again, sign_flips(sums, _FLIPS_PER_TEST * len(tests), seed), strict=True):
            p[k] = drawn
    corrected: dict[str, list[Difference]] = {name: [] for name in found}
    for (row, i), own, adjusted in zip(keys, p, holm(p).tolist(), strict=True):
        one = found[row.name][i]
        corrected[row.name].append(replace(one, paired=replace(one.paired, p=own), p_holm=adjusted))
    return {name: tuple(line) for name, line in corrected.items()}


def survives(difference: Difference) -> bool:
    """True when the difference is significant after the correction, and its interval says so as well."""
    return difference.interval.excludes_zero and difference.p_holm < LEVEL


def _prompt_sums(base: Row, row: Row, difference: Difference) -> Floats:
    """Sums of paired differences per prompt, [prompts with a pair]."""
    pairs = paired_rows(base.run, row.run, difference.facts.name)
    differences = pairs["value_b"].to_numpy(dtype=np.float64) - pairs["value_a"].to_numpy(dtype=np.float64)
    return cluster_sums(differences, prompt_codes(base.run, pairs))[0]


def sign_flips(sums: Sequence[Floats], flips: int, seed: int = 0) -> list[float]:
    """`bench.analysis.stats.sign_flip_p` of many tests, each [prompts]: those of as many prompts share their flips.

    That is what makes so many flips affordable; where all signs can be listed the exact p is taken.
    """
    p = [sign_flip_p(one) if one.size <= _LISTED else math.nan for one in sums]
    for size in sorted({one.size for one in sums if one.size > _LISTED}):
        indices = [k for k, one in enumerate(sums) if one.size == size]
        totals = np.stack([sums[k] for k in indices], axis=1)  # [prompts, tests]
        bound = np.abs(totals.sum(axis=0)) - 1e-12 * np.abs(totals).sum(axis=0)
        hits = np.zeros(len(indices))
        rng, step = np.random.default_rng(seed), max(1, _CELLS // size)
        for start in range(0, flips, step):
            signs = 1 - 2.0 * rng.integers(0, 2, size=(min(step, flips - start), size), dtype=np.int8)
            hits += np.sum(np.abs(signs @ totals) >= bound, axis=0)
        for k, count in zip(indices, hits.tolist(), strict=True):
            p[k] = (count + 1) / (flips + 1)  # Phipson & Smyth 2010
    return p


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
