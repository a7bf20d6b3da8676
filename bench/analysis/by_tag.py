"""Paired differences of two runs by prompt tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def tag_counts(run: Run) -> dict[str, int]:
    """Tag -> number of its prompts, in the order of the tags' names; a prompt counts for each of its tags."""
    return dict(sorted(Counter(tag for own in run.tags.values() for tag in set(own)).items()))


def tag_differences(a: Run, b: Run) -> tuple[TagDifference, ...]:
    """b - a per metric and tag of the prompts (a prompt counts for each of its tags); set metrics have none.

    The p values are Holm-corrected over the whole table; tags are in the order of their name.
    """
    return _corrected(_of_tags(a, b, tag_counts(a), win=True))


def tag_differences_against(a: Run, others: Sequence[Run], tags: Sequence[str]) -> list[tuple[TagDifference, ...]]:
    """For each of `others` its differences to `a` in the prompts of `tags`, without win rates.

    The p values are Holm-corrected over the tables of all of them together.
    """
    counts = {tag: count for tag, count in tag_counts(a).items() if tag in tags}
    found = [_of_tags(a, other, counts, win=False) for other in others]
    left = iter(_corrected([one for line in found for one in line]))
    return [tuple(next(left) for _ in line) for line in found]


def _of_tags(a: Run, b: Run, tags: dict[str, int], *, win: bool) -> list[TagDifference]:
    found: list[TagDifference] = []
    prompts = {tag: [prompt_id for prompt_id, _ in a.prompts if tag in a.tags.get(prompt_id, ())] for tag in tags}
    for metric in (name for name in a.metrics if name in b.metrics and a.metrics[name].kind != "set"):
        facts = a.metrics[metric]
        before, after = units_of(a, metric), units_of(b, metric)
        for tag in tags:
            first, second = before.of(prompts[tag]), after.of(prompts[tag])
            pairing = pair(first, second)
            one = Difference(facts, first.mean().mean, second.mean().mean, pairing.paired(win=win), estimate=pairing)
            found.append(TagDifference(tag, tags[tag], one, pairing.estimate.sums.size < LEAST_PROMPTS))
    return found


def _corrected(found: Sequence[TagDifference]) -> tuple[TagDifference, ...]:
    together = corrected([one.difference for one in found])
    return tuple(replace(one, difference=new) for one, new in zip(found, together, strict=True))
