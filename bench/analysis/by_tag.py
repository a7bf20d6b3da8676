"""Paired differences of two runs by prompt tag."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from bench.analysis.differences import LEAST_PROMPTS, Difference, corrected
from bench.analysis.estimand import pair, units_of
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
        before, after = units_of(a, metric), units_of(b, metric)
        for tag in tags:
            prompts = [prompt_id for prompt_id, _ in a.prompts if tag in a.tags.get(prompt_id, ())]
            first, second = before.of(prompts), after.of(prompts)
            pairing = pair(first, second)
            one = Difference(facts, first.mean().mean, second.mean().mean, pairing.paired(), estimate=pairing)
            found.append(TagDifference(tag, tags[tag], one, pairing.estimate.sums.size < LEAST_PROMPTS))
    together = corrected([one.difference for one in found])
    return tuple(replace(one, difference=new) for one, new in zip(found, together, strict=True))
