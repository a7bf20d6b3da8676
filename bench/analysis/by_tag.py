"""Paired differences of two runs by prompt tag."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.differences import LEAST_PROMPTS, Difference, corrected, paired_rows
from bench.analysis.intervals import bounds_of, cluster_difference, paired_difference
from bench.analysis.stats import Floats
from bench.analysis.summary import prompt_codes
from bench.store.runs import Run


@dataclass(frozen=True)
class TagDifference:
    """b - a on one metric over the prompts of one tag; `p_holm` is corrected over all metrics and tags.

    `too_few`: fewer than 8 prompts were scored on both sides, so that there can be no full mark.
    """

    tag: str
    prompts: int
    difference: Difference
    too_few: bool = False


def tag_differences(a: Run, b: Run) -> tuple[TagDifference, ...]:
    """b - a per metric and tag of the prompts (a prompt counts for each of its tags); set metrics have none.

    The p values are Holm-corrected over the whole table; tags are in the order of their name.
    """
    tags = dict(sorted(Counter(tag for own in a.tags.values() for tag in set(own)).items()))
    found: list[TagDifference] = []
    for metric in (name for name in a.metrics if name in b.metrics and a.metrics[name].kind != "set"):
        facts = a.metrics[metric]
        rows, bounds = paired_rows(a, b, metric), bounds_of(facts.card)
        codes = prompt_codes(a, rows)
        before, after = rows["value_a"].to_numpy(dtype=np.float64), rows["value_b"].to_numpy(dtype=np.float64)
        for tag in tags:
            of_tag = rows["prompt_id"].map(lambda prompt_id, tag=tag: tag in a.tags.get(prompt_id, ()))
            mine = of_tag.to_numpy(dtype=bool)
            parts = before[mine], after[mine], codes[mine]
            means = _mean(before[mine]), _mean(after[mine])
            estimate = cluster_difference(*parts, bounds)
            one = Difference(facts, *means, paired_difference(*parts, bounds=bounds), estimate=estimate)
            found.append(TagDifference(tag, tags[tag], one, estimate.sums.size < LEAST_PROMPTS))
    together = corrected([one.difference for one in found])
    return tuple(replace(one, difference=new) for one, new in zip(found, together, strict=True))


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
