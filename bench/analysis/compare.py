"""Two runs against each other: paired differences per metric and per prompt tag, with the prompt as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.common import over_common
from bench.analysis.comparable import library_notes, require_comparable
from bench.analysis.differences import Difference, difference_row, differences
from bench.analysis.estimand import prompt_clusters
from bench.analysis.intervals import rare_prompts
from bench.analysis.summary import prompt_means, unscored_reason
from bench.store.runs import MetricFacts, Run
from bench.store.select import RunSource, display_names, open_runs

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.by_tag import TagDifference

TOP = 3


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
    """`table` has one row per metric, `tag_table` one per metric and tag."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    tags: tuple[TagDifference, ...] = ()
    trained: frozenset[str] = frozenset()  # metrics that either method was trained on
    changed: tuple[Change, ...] = ()  # per metric the prompts that changed most, the largest change first

    @property
    def table(self) -> pd.DataFrame:
        """Columns metric, title, kind, direction, a, b, difference, ci_low, ci_high, p, p_holm, win_rate, n, ..."""
        import pandas as pd

        return pd.DataFrame([difference_row(difference) for difference in self.differences])

    @property
    def tag_table(self) -> pd.DataFrame:
        """The columns of `table` with tag and prompts before them."""
        import pandas as pd

        rows = [{"tag": tag.tag, "prompts": tag.prompts, **difference_row(tag.difference)} for tag in self.tags]
        return pd.DataFrame(rows)


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


def compare(
    a: RunSource,
    b: RunSource,
    top: int = TOP,
    results: Path | str = Path("results"),
    *,
    common: bool = False,
    suite: str | None = None,
) -> Comparison:
    """Paired differences b - a between two runs, per metric and per prompt tag. Does what `bench compare` does.

    `a` and `b` are run folders, stores, or names in `results`; `top` is how many of the prompts that changed most are
    listed per metric. `common`: over the values that both runs have; the notes say how many those are. `suite` chooses
    where runs of several suites fit a name.

    NotComparableError: other suite, prompts, samples, sampling conditions or metric versions. Different seeds are
    allowed and noted, because pairing by prompt stays sound.

    >>> import bench
    >>> comparison = bench.compare("base", "refl", results=RESULTS)
    >>> comparison.a, comparison.b
    ('base', 'refl')
    >>> [difference.facts.name for difference in comparison.differences]
    ['pickscore', ...]
    """
    from bench.analysis.by_tag import tag_differences

    first, second = _one_run(a, results, suite), _one_run(b, results, suite)
    require_comparable([first, second], seeds=False)
    (first, second), captions = over_common([first, second]) if common else ([first, second], ())
    notes = list(captions)
    if first.conditions.get("seed") != second.conditions.get("seed"):
        seeds = f"{first.conditions.get('seed')} and {second.conditions.get('seed')}"
        notes.append(f"the runs have different seeds ({seeds}): paired by prompt, but not on the same noise")
    one_sided = sorted(first.metrics.keys() ^ second.metrics.keys())
    if one_sided:
        notes.append(f"scored in one run only, so not compared: {', '.join(one_sided)}")
    notes += library_notes([first, second])
    notes += prompt_notes(first)
    names = display_names([first, second])
    notes += [note for run, name in zip((first, second), names, strict=True) for note in unscored_notes(run, name)]
    found = differences(first, second)
    notes += gap_notes(found)
    return Comparison(
        names[0],
        names[1],
        found,
        tuple(notes),
        tag_differences(first, second),
        frozenset(first.trained_on) | frozenset(second.trained_on),
        changed_most(first, second, top),
    )


def prompt_notes(run: Run) -> list[str]:
    """What the number of prompts keeps from being seen, and which prompts are one cluster; the same in all tables."""
    clusters = len(set(prompt_clusters(run).values()))
    found = [rare_prompts(clusters)] if rare_prompts(clusters) else []
    if clusters < len(run.prompts):
        why = f"the same tag {run.cluster}" if run.cluster else "the same text"
        found.append(f"{len(run.prompts)} prompts, of which some have {why}: intervals rest on {clusters} clusters")
    return found


def gap_notes(differences: Sequence[Difference], name: str = "") -> list[str]:
    """A sentence for every difference that has no mark because of what is scored on one side only."""
    of = f" of {name}" if name else ""
    return [
        f"{difference.facts.display}{of}: {difference.undecided}" for difference in differences if difference.undecided
    ]


def unscored_notes(run: Run, name: str) -> list[str]:
    """A sentence for every metric of which values could not be computed; `name` is the run's in print."""
    notes = []
    for metric, facts in run.metrics.items():
        rows = run.rows(metric)
        values = rows["value"]
        lost = int((~np.isfinite(values.to_numpy(dtype=np.float64))).sum())
        if lost:
            reason = unscored_reason(run, metric)
            why = f", for instance: {reason}" if reason else ""
            notes.append(f"{facts.display} of {name}: {lost} of {len(values)} values unscored{why}")
    return notes


def _one_run(source: RunSource, results: Path | str, suite: str | None) -> Run:
    from bench.errors import UsageError

    runs, _, _ = open_runs(source, results, suite)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:6])
        raise UsageError(f"{source} contains {len(runs)} runs ({names}): give the path of one of them")
    return runs[0]
