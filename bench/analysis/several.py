"""Three or more runs against each other: every pair in every metric, letters, ranks, and who may be the best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.allpairs import AllPairs, all_pairs, compared
from bench.analysis.checkpoints import MethodRuns, method_difference, method_interval
from bench.analysis.comparable import library_notes
from bench.analysis.differences import difference_row
from bench.analysis.in_reward import in_reward
from bench.analysis.noise import noise_text
from bench.analysis.run_notes import prompt_notes, unscored_notes
from bench.analysis.served_notes import served_notes
from bench.analysis.tradeoff.pairs import pairs_of
from bench.store.runs import MetricFacts, Run, metric_order
from bench.store.select import display_names

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.several_data import SeveralData


@dataclass(frozen=True)
class Several:
    """`table` has one row per metric and pair, `ranks` one per metric and method. Names are in the order given."""

    names: tuple[str, ...]
    metrics: tuple[AllPairs, ...]
    notes: tuple[str, ...] = ()
    trained: frozenset[tuple[str, str]] = frozenset()  # (name, metric) of a method that was trained on the metric
    checkpoints: tuple[int, ...] = ()  # over training seeds: how many of each method, 0 of an untrained one; else ()

    @property
    def data(self) -> SeveralData:
        """Plain JSON data of a stable structure: what `bench compare A B C --json` prints."""
        from bench.analysis.several_data import several_data

        return several_data(self)

    @property
    def table(self) -> pd.DataFrame:
        """Columns method_a, method_b, metric, title, ..., as of two runs: b - a, where b has the better mean."""
        import pandas as pd

        return pd.DataFrame([row for one in self.metrics for row in pair_records(one)])

    @property
    def ranks(self) -> pd.DataFrame:
        """Columns metric, method, mean, ci_low, ci_high, rank_best, rank_worst, letters, maybe_best."""
        import pandas as pd

        return pd.DataFrame([row for one in self.metrics for row in rank_rows(one)])


def pair_records(one: AllPairs) -> list[dict[str, object]]:
    """The pairs of one metric as plain values; win rates, which all pairs are not asked for, are not among them."""
    without = ("win_rate", "win_low", "win_high")
    return [
        {"method_a": one.methods[j], "method_b": one.methods[i]}
        | {key: value for key, value in difference_row(difference).items() if key not in without}
        for (i, j), difference in one.differences.items()
    ]


def rank_rows(one: AllPairs) -> list[dict[str, object]]:
    """The methods of one metric as plain values, the best mean first."""
    best = set(one.maybe_best)
    return [
        {
            "metric": one.facts.name,
            "method": name,
            "mean": mean.mean,
            "ci_low": mean.low,
            "ci_high": mean.high,
            "rank_best": low,
            "rank_worst": high,
            "letters": letters,
            "maybe_best": name in best,
        }
        for name, mean, (low, high), letters in zip(one.methods, one.means, one.ranks, one.letters, strict=True)
    ]


def compare_runs(runs: Sequence[Run], captions: Sequence[str] = ()) -> Several:
    """Every pair of comparable runs; `captions` say what was compared where that is not all."""
    names = display_names(runs)
    pairs = pairs_of(runs, names)
    found = all_pairs(pairs)
    trained = _trained(zip(names, runs, strict=True), found)
    notes = [*captions, *_notes(runs, names, found), *_same_method(runs, names)]
    return Several(tuple(names), found, tuple(notes), frozenset(trained))


def compare_methods(groups: Sequence[MethodRuns], captions: Sequence[str] = ()) -> Several:
    """Every pair of methods over their checkpoints (training seeds) and prompts."""
    by_name = {group.name: group for group in groups}
    runs = [run for group in groups for run in group.runs]
    found = compared(
        list(by_name),
        _metrics(runs),
        lambda name, metric: method_interval(by_name[name], metric),
        lambda a, b, metric: method_difference(by_name[a], by_name[b], metric),
    )
    trained = _trained([(group.name, run) for group in groups for run in group.runs], found)
    notes = [*captions, *_notes(runs, display_names(runs), found), *(note for group in groups for note in group.notes)]
    alone = [group.name for group in groups if group.trained and not group.several]
    if alone:
        notes.append(f"one checkpoint of {', '.join(alone)}: what is said of it says nothing of another training seed")
    return Several(
        tuple(by_name), found, tuple(notes), frozenset(trained), tuple(len(one.runs) * one.trained for one in groups)
    )


def _trained(runs: Iterable[tuple[str, Run]], found: Sequence[AllPairs]) -> set[tuple[str, str]]:
    scored = [one.facts.name for one in found]
    return {(name, metric) for name, run in runs for metric in scored if in_reward(run.trained_on, metric)}


def _metrics(runs: Sequence[Run]) -> list[MetricFacts]:
    facts = {name: one for run in runs for name, one in run.metrics.items()}
    return sorted(facts.values(), key=metric_order)


def _notes(runs: Sequence[Run], names: Sequence[str], found: Sequence[AllPairs]) -> list[str]:
    """What a reader of all pairs has to be told, each once."""
    noise = noise_text({name: run.conditions for name, run in zip(names, runs, strict=True)})
    notes = [noise] if noise else []
    notes += served_notes(dict(zip(names, runs, strict=True)))
    notes += library_notes(runs)
    notes += prompt_notes(runs[0])
    notes += [note for run, name in zip(runs, names, strict=True) for note in unscored_notes(run, name)]
    for one in found:
        if one.absent:
            notes.append(f"{one.facts.display} was not scored for {', '.join(one.absent)}, which have no rank in it")
        notes += _reasons(one)
    return list(dict.fromkeys(notes))


def _reasons(one: AllPairs) -> list[str]:
    """Why pairs have no interval or no mark, each reason once with the pairs it is of."""
    of: dict[str, list[str]] = {}
    for (i, j), difference in one.differences.items():
        without = difference.interval.reason if math.isnan(difference.p_mark) else None
        reason = difference.undecided or without
        if reason:
            of.setdefault(reason, []).append(f"{one.methods[i]} and {one.methods[j]}")
    every = len(one.differences)
    return [
        f"{one.facts.display}: {reason}" + ("" if len(which) == every else f" (of {'; '.join(which)})")
        for reason, which in of.items()
    ]


def _same_method(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Runs that are checkpoints of one method: what they differ by is training again."""
    members: dict[tuple[str, str], list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        if run.checkpoint is not None and run.checkpoint.replicates:
            members.setdefault((run.checkpoint.of, run.checkpoint.recipe), []).append(name)
    return [
        f"{', '.join(which)} are checkpoints of one method with other training seeds: --replicates compares the methods"
        for which in members.values()
        if len(which) > 1
    ]
