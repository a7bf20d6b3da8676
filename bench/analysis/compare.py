"""Runs against each other: of two, paired differences per metric and per prompt tag; of more, all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from bench.analysis.checkpoints import MethodRuns, method_difference, method_groups
from bench.analysis.common import over_common
from bench.analysis.comparable import differing_notes, library_notes, require_comparable, with_equal_cards
from bench.analysis.differences import Difference, corrected, difference_row, differences
from bench.analysis.in_reward import in_reward, training_notes, with_training
from bench.analysis.noise import noise_text
from bench.analysis.opened import open_runs, tell_outdated
from bench.analysis.run_notes import gap_notes, no_interval_notes, prompt_notes, unscored_notes
from bench.analysis.served_notes import served_notes
from bench.analysis.set_notes import set_notes
from bench.analysis.summary import prompt_means
from bench.errors import UsageError, unknown
from bench.store.on_object_stores import on_object_stores
from bench.store.runs import MetricFacts, Run
from bench.store.select import RunSource, display_names
from bench.store.siblings import other_checkpoints

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.by_tag import TagDifference
    from bench.analysis.comparison_data import ComparisonData
    from bench.analysis.several import Several

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
class MethodComparison:
    """The methods of two runs over all of their checkpoints: `differences` are b - a, a family of their own."""

    a: MethodRuns
    b: MethodRuns
    differences: tuple[Difference, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The columns of `Comparison.table`."""
        import pandas as pd

        return pd.DataFrame([difference_row(difference) for difference in self.differences])


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
    methods: MethodComparison | None = None  # the same over training seeds, where that was asked for

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


@overload
@on_object_stores()
def compare(
    a: RunSource,
    b: RunSource,
    top: int = TOP,
    results: Path | str = Path("results"),
    *,
    others: tuple[()] = (),
    common: bool = False,
    replicates: bool = False,
    metrics: Sequence[str] | None = None,
    suite: str | None = None,
) -> Comparison: ...
@overload
def compare(
    a: RunSource,
    b: RunSource,
    top: int = TOP,
    results: Path | str = Path("results"),
    *,
    others: Sequence[RunSource],
    common: bool = False,
    replicates: bool = False,
    metrics: Sequence[str] | None = None,
    suite: str | None = None,
) -> Several | Comparison: ...
def compare(
    a: RunSource,
    b: RunSource,
    top: int = TOP,
    results: Path | str = Path("results"),
    *,
    others: Sequence[RunSource] = (),
    common: bool = False,
    replicates: bool = False,
    metrics: Sequence[str] | None = None,
    suite: str | None = None,
) -> Comparison | Several:
    """Paired differences b - a between two runs, or all pairs of more. Does what `bench compare` does.

    Runs are folders, stores, or names in `results`; `suite` chooses where runs of several suites fit a name. Of two
    runs: per metric and per prompt tag, with the `top` prompts that changed most per metric (`Comparison`). With
    `others`, three runs or more: every pair in every metric, with letters, ranks and the set that cannot be told from
    the best (`Several`). `common`: over the values that all runs have; the notes say how many those are. `metrics`
    (names) are those that are compared, and so the family of tests (None: all).

    `replicates`: also over the other checkpoints of each method (training seeds) that lie beside the runs; of three or
    more runs the methods are compared then, not the runs.

    NotComparableError: other suite, prompts, samples or sampling conditions, or no metric that was computed in the same
    way (one that was not is left out and noted). Different seeds are
    allowed and noted, because pairing by prompt stays sound. UsageError: an unknown run or metric, or `replicates`
    where there are none.

    >>> import bench
    >>> comparison = bench.compare("base", "refl", results=RESULTS)
    >>> comparison.a, comparison.b
    ('base', 'refl')
    >>> [difference.facts.name for difference in comparison.differences]
    ['pickscore', ...]
    >>> several = bench.compare("base", "refl", others=["combined"], results=RESULTS)
    >>> several.metrics[0].maybe_best
    (...)
    """
    from bench.analysis.several import compare_methods, compare_runs

    runs = [_one_run(source, results, suite) for source in (a, b, *others)]
    _check_distinct(runs)
    siblings = _siblings(runs)
    unique = [*runs, *(siblings if replicates else ())]
    if metrics is not None:
        unique = _only(unique, metrics)
    require_comparable(unique, seeds=False)
    unique = with_equal_cards(unique)
    disagreed = training_notes(unique, display_names(unique))
    unique, captions = over_common(with_training(unique)) if common else (with_training(unique), ())
    told = [
        *differing_notes(unique, display_names(unique)),
        *captions,
        *disagreed,
        *([] if replicates else _hint(siblings)),
    ]
    groups = _groups(unique, len(runs)) if replicates else ()
    if others:
        return compare_methods(groups, told) if replicates else compare_runs(unique, told)
    found = _two(unique[0], unique[1], told, top)
    return replace(found, methods=_methods(groups)) if replicates else found


def _two(first: Run, second: Run, told: Sequence[str], top: int) -> Comparison:
    from bench.analysis.by_tag import tag_differences

    notes, names = list(told), display_names([first, second])
    noise = noise_text({name: run.conditions for name, run in zip(names, (first, second), strict=True)})
    notes += [noise] if noise else []
    notes += served_notes(dict(zip(names, (first, second), strict=True)))
    differing = first.differing.keys() | second.differing.keys()
    one_sided = sorted((first.metrics.keys() ^ second.metrics.keys()) - differing)
    if one_sided:
        notes.append(f"scored in one run only, so not compared: {', '.join(one_sided)}")
    notes += library_notes([first, second])
    notes += prompt_notes(first)
    for run, name in zip((first, second), names, strict=True):
        notes += [*([f"{name}: {run.doubt}"] if run.doubt else []), *unscored_notes(run, name)]
    found = differences(first, second)
    pairs = [("", one.facts, one.interval) for one in found]
    notes += [*no_interval_notes(pairs), *gap_notes(found), *set_notes(found)]
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


def _check_distinct(runs: Sequence[Run]) -> None:
    """Of three or more, UsageError for a run that is given twice; one run against itself is a comparison of two."""
    places = [(run.path.absolute(), run.name) for run in runs]
    twice = next((run.name for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if len(runs) > 2 and twice is not None:
        raise UsageError(f"run {twice} is given twice: name each run once")


def _only(runs: Sequence[Run], metrics: Sequence[str]) -> list[Run]:
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in metrics:
        if name not in known:
            raise unknown("metric", name, known)
    return [run.only(metrics) for run in runs]


def _siblings(runs: Sequence[Run]) -> list[Run]:
    """The other checkpoints of the runs' methods that lie beside them, each once."""
    known = {(run.path.absolute(), run.name) for run in runs}
    found = {(other.path.absolute(), other.name): other for run in runs for other in other_checkpoints(run)}
    return [other for place, other in found.items() if place not in known]


def _hint(siblings: Sequence[Run]) -> list[str]:
    """That other checkpoints of a method lie beside the runs and were not looked at."""
    if not siblings:
        return []
    names = ", ".join(other.name for other in siblings)
    return [f"other training seeds of these methods are there ({names}): --replicates compares the methods"]


def _groups(runs: Sequence[Run], given: int) -> tuple[MethodRuns, ...]:
    """The methods of runs; UsageError where none has several checkpoints, or all are of one method."""
    groups = method_groups(runs)
    if len(groups) < 2:
        raise UsageError(f"the {given} runs are checkpoints of one method, {groups[0].name}: name another method")
    if not any(group.several for group in groups):
        names = ", ".join(group.name for group in groups)
        raise UsageError(f"no other checkpoints of {names} are there: make them with `bench run --replicates`")
    return groups


def _methods(groups: Sequence[MethodRuns]) -> MethodComparison:
    a, b = groups
    both = [name for name in a.runs[0].metrics if name in b.runs[0].metrics]
    return MethodComparison(a, b, corrected([method_difference(a, b, name) for name in both]))


def _one_run(source: RunSource, results: Path | str, suite: str | None) -> Run:
    runs, left_out, _ = open_runs(source, results, suite)
    tell_outdated(left_out)
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:6])
        raise UsageError(f"{source} contains {len(runs)} runs ({names}): give the path of one of them")
    return runs[0]
