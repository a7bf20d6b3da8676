"""Two runs against each other: paired differences per metric and per prompt tag, with the prompt as the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.common import over_common
from bench.analysis.comparable import library_notes, require_comparable
from bench.analysis.differences import Difference, difference_row, differences
from bench.analysis.estimand import prompt_clusters
from bench.analysis.in_reward import in_reward, training_notes, with_training
from bench.analysis.intervals import rare_prompts
from bench.analysis.noise import noise_text
from bench.analysis.set_notes import set_notes
from bench.analysis.summary import prompt_means, unscored_reason
from bench.errors import UsageError, unknown
from bench.formatting import counted
from bench.store.clusters import tag_of
from bench.store.runs import MetricFacts, Run
from bench.store.select import RunSource, display_names, open_runs

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.by_tag import TagDifference
    from bench.analysis.comparison_data import ComparisonData

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
    trained: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # metric -> which of both was trained on it
    changed: tuple[Change, ...] = ()  # per metric the prompts that changed most, the largest change first

    @property
    def table(self) -> pd.DataFrame:
        """Columns metric, title, kind, direction, a, b, difference, ci_low, ci_high, p, p_holm, win_rate, n, ..."""
        import pandas as pd

        return pd.DataFrame([difference_row(difference) for difference in self.differences])

    @property
    def data(self) -> ComparisonData:
        """Plain JSON data of a stable structure: what `bench compare --json` prints."""
        from bench.analysis.comparison_data import comparison_data

        return comparison_data(self)

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
    metrics: Sequence[str] | None = None,
    common: bool = False,
) -> Comparison:
    """Paired differences b - a between two runs, per metric and per prompt tag. Does what `bench compare` does.

    `a` and `b` are run folders, stores, or names in `results`; `top` is how many of the prompts that changed most are
    listed per metric. `metrics` are those that are compared (None: all that both have): the family that Holm's
    correction covers. `common`: over the values that both runs have; the notes say how many those are.

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

    as_read = [_of_metrics(_one_run(one, results), metrics) for one in (a, b)]
    require_comparable(as_read, seeds=False)
    names = display_names(as_read)
    first, second = with_training(as_read)
    (first, second), captions = over_common([first, second]) if common else ([first, second], ())
    notes = list(captions)
    noise = noise_text({name: run.conditions for name, run in zip(names, as_read, strict=True)})
    notes += [noise] if noise else []
    notes += training_notes(as_read, names)
    one_sided = sorted(first.metrics.keys() ^ second.metrics.keys())
    if one_sided:
        notes.append(f"scored in one run only, so not compared: {', '.join(one_sided)}")
    notes += library_notes([first, second])
    notes += prompt_notes(first)
    notes += [note for run, name in zip((first, second), names, strict=True) for note in unscored_notes(run, name)]
    found = differences(first, second)
    notes += [*gap_notes(found), *set_notes(found)]
    return Comparison(
        names[0],
        names[1],
        found,
        tuple(notes),
        tag_differences(first, second),
        trained_by({name: run.trained_on for name, run in zip(names, (first, second), strict=True)}, found),
        changed_most(first, second, top),
    )


def trained_by(
    trained_on: Mapping[str, Sequence[str]], differences: Sequence[Difference]
) -> dict[str, tuple[str, ...]]:
    """Metric -> the methods that were trained on it, of the metrics that are compared."""
    found = {
        difference.facts.name: tuple(name for name, on in trained_on.items() if in_reward(on, difference.facts.name))
        for difference in differences
    }
    return {metric: names for metric, names in found.items() if names}


def prompt_notes(run: Run) -> list[str]:
    """What the number of prompts keeps from being seen, and which prompts are one cluster; the same in all tables."""
    few = rare_prompts(len(set(prompt_clusters(run).values())))
    return [*([few] if few else []), *cluster_notes(run)]


def cluster_notes(run: Run) -> list[str]:
    """Which prompts are one cluster, and whether the tag that the suite names for that is there, as sentences."""
    clusters, found = len(set(prompt_clusters(run).values())), []
    without = sum(tag_of(run.tags.get(prompt_id, ()), run.cluster) is None for prompt_id, _ in run.prompts)
    if run.cluster and without:
        some = f"{counted(without, 'prompt')} {'does' if without == 1 else 'do'} not have"
        whose = "none of the prompts has" if without == len(run.prompts) else some
        found.append(f'cluster = "{run.cluster}" names a tag that {whose}: there each text is a cluster of its own')
    if clusters < len(run.prompts):
        why = f"the same tag {run.cluster} or text" if run.cluster else "the same text"
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


def _of_metrics(run: Run, metrics: Sequence[str] | None) -> Run:
    """The run with only these metrics. UsageError for one that it does not have."""
    if metrics is None:
        return run
    absent = next((name for name in metrics if name not in run.metrics), None)
    if absent is not None:
        raise unknown(f"metric of {run.name}", absent, run.metrics)
    return replace(run, metrics={name: facts for name, facts in run.metrics.items() if name in metrics})


def _one_run(source: RunSource, results: Path | str) -> Run:
    runs, _, _ = open_runs(source, results)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:6])
        raise UsageError(f"{source} contains {len(runs)} runs ({names}): give the path of one of them")
    return runs[0]
