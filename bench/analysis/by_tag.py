"""Paired differences of two runs by prompt tag."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.differences import Difference, paired_rows
from bench.analysis.stats import EXACT_CLUSTERS, Floats, cluster_sums, holm, paired_difference, sign_flip_ps
from bench.analysis.summary import N_RESAMPLES, prompt_codes
from bench.store.runs import Run

_FLIPS_A_TEST = 1000  # 50 / 0.05: at the threshold of the corrected table a sampled p rests on 50 hits ...
_MOST_FLIPS = 200_000  # ... of tables of up to 200 tests; with 2,000 tests on five hits, still well below the threshold


@dataclass(frozen=True)
class TagDifference:
    """b - a on one metric over the prompts of one tag; `p_holm` is corrected over all metrics and tags.

    `too_few`: so few prompts that in this table no difference could be significant after the correction, however large.
    """

    tag: str
    prompts: int
    difference: Difference
    too_few: bool = False


def tag_differences(a: Run, b: Run, n_resamples: int = N_RESAMPLES, seed: int = 0) -> tuple[TagDifference, ...]:
    """b - a per metric and tag of the prompts (a prompt counts for each of its tags); set metrics have none.

    The p values are Holm-corrected over the whole table, with as many sign flips as that needs; tags are in the order
    of their name.
    """
    tags = dict(sorted(Counter(tag for own in a.tags.values() for tag in set(own)).items()))
    found: list[TagDifference] = []
    columns: list[Floats] = []
    for metric in (name for name in a.metrics if name in b.metrics and a.metrics[name].kind != "set"):
        rows = paired_rows(a, b, metric)
        codes = prompt_codes(a, rows)
        before, after = rows["value_a"].to_numpy(dtype=np.float64), rows["value_b"].to_numpy(dtype=np.float64)
        for tag in tags:
            mine = (
                rows["prompt_id"].map(lambda prompt_id, tag=tag: tag in a.tags.get(prompt_id, ())).to_numpy(dtype=bool)
            )
            paired = paired_difference(before[mine], after[mine], codes[mine], n_resamples, seed)
            means = _mean(before[mine]), _mean(after[mine])
            found.append(TagDifference(tag, tags[tag], Difference(a.metrics[metric], *means, paired)))
            columns.append(_sums(after[mine] - before[mine], codes[mine], len(a.prompts)))
    return _corrected(found, columns, n_resamples, seed)


def _sums(difference: Floats, codes: np.ndarray, prompts: int) -> Floats:
    """The differences summed per prompt, [prompts]; NaN for prompts without any."""
    column = np.full(prompts, np.nan)
    known = np.isfinite(difference) & (codes >= 0)
    column[np.unique(codes[known])] = cluster_sums(difference[known], codes[known])[0]
    return column


def _corrected(
    found: Sequence[TagDifference], columns: Sequence[Floats], n_resamples: int, seed: int
) -> tuple[TagDifference, ...]:
    """With p values that are fine enough for their number, and those after Holm's correction."""
    if not found:
        return ()
    flips = min(max(n_resamples, 2000, _FLIPS_A_TEST * len(found)), _MOST_FLIPS)
    ps = sign_flip_ps(np.stack(columns, axis=1), flips, seed)
    return tuple(
        replace(
            one,
            difference=replace(one.difference, paired=replace(one.difference.paired, p=float(p)), p_holm=float(after)),
            too_few=not _can_pass(ps, index, int(np.isfinite(column).sum())),
        )
        for index, (one, column, p, after) in enumerate(zip(found, columns, ps, holm(ps), strict=True))
    )


def _can_pass(ps: Floats, index: int, prompts: int) -> bool:
    """Whether the smallest p that so many prompts can have would pass the correction with the others as they are."""
    if prompts > EXACT_CLUSTERS:
        return True  # sampled, with as many flips as the table needs
    smallest = ps.copy()
    smallest[index] = 2.0 ** (1 - prompts)
    return prompts > 0 and bool(holm(smallest)[index] < 0.05)


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
