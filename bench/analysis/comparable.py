"""Which runs may stand side by side in one table, and if not, the field in which they differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from bench.errors import NotComparableError
from bench.store.cards import card_difference, library_difference
from bench.store.conditions import COUPLED
from bench.store.runs import Run
from bench.store.select import LeftOut


def why_not_comparable(a: Run, b: Run, seeds: bool = True, metrics: Collection[str] | None = None) -> str | None:
    """The first field in which two runs may not stand side by side, as a clause; None when they are comparable.

    Compared: suite, prompts, samples, sampling conditions, and the cards of the metrics that both have: one metric that
    was computed differently leaves the others comparable (`with_equal_cards` takes it out), so that only where all of
    them were the runs are not comparable. Of `metrics`, if given, any difference counts, and no other metric does.
    `seeds=False` allows different seeds (a comparison by prompt is still sound; only the noise is no longer the same).
    """
    why = _why_runs_differ(a, b, seeds)
    if why is not None:
        return why
    both = sorted(a.metrics.keys() & b.metrics.keys())
    asked = [name for name in both if metrics is None or name in metrics]
    differing = list(_differing(a, b, asked))
    if differing and (metrics is not None or len(differing) == len(asked)):
        return f"metric {differing[0][0]} {differing[0][1]}"
    return None


def _differing(a: Run, b: Run, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Metrics that were computed differently, each with how as a clause."""
    for name in names:
        how = card_difference(a.metrics[name].card, b.metrics[name].card)
        if how:
            yield name, f"was computed differently: {how}; score both again with `bench score`"


def with_equal_cards(runs: Sequence[Run]) -> list[Run]:
    """Comparable runs, each without the metrics that it does not share the identity card of with the others.

    Of a metric with several cards the one that most runs have is kept, of equally many that of the first run. What is
    taken out of a run is in its `differing`, with the reason.
    """
    taken: list[dict[str, str]] = [{} for _ in runs]
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        groups: list[list[int]] = []
        for index, run in enumerate(runs):
            if name in run.metrics:
                home = next((g for g in groups if not any(_differing(runs[g[0]], run, [name]))), None)
                groups.append([index]) if home is None else home.append(index)
        groups.sort(key=len, reverse=True)  # stable: of equally many the first
        for index in (index for group in groups[1:] for index in group):
            kept = runs[groups[0][0]]
            how = card_difference(kept.metrics[name].card, runs[index].metrics[name].card)
            title = runs[index].metrics[name].display
            taken[index][name] = f"{title} was computed differently than for {kept.name}: {how}"
    return [
        replace(run.only(run.metrics.keys() - out.keys()), differing={**run.differing, **out}) if out else run
        for run, out in zip(runs, taken, strict=True)
    ]


def differing_notes(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What `with_equal_cards` took out, a sentence each; `names` are what the runs are called."""
    return [
        f"{name}: {why}; it is not compared: score both again with `bench score`"
        for name, run in zip(names, runs, strict=True)
        for why in run.differing.values()
    ]


def _why_runs_differ(a: Run, b: Run, seeds: bool) -> str | None:
    if a.suite != b.suite:
        return f"suite differs: {a.suite} against {b.suite}"
    if a.prompts_digest != b.prompts_digest:
        return f"prompts differ: {_prompt_difference(a, b)}"
    if a.samples != b.samples:
        return f"samples differ: {a.samples} against {b.samples} images per prompt"
    for key in a.conditions.keys() & b.conditions.keys() - ({COUPLED} if seeds else {COUPLED, "seed"}):
        if a.conditions[key] != b.conditions[key]:
            return f"{key} differs: {a.conditions[key]} against {b.conditions[key]}"
    return None


def library_notes(runs: Sequence[Run]) -> list[str]:
    """Which metrics were scored with different versions of libraries, one sentence for all of them or none."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        difference = library_difference([run.metrics[name].card for run in runs if name in run.metrics])
        if difference:
            found.setdefault(difference, []).append(name)
    if not found:
        return []
    listed = "; ".join(f"{difference} ({', '.join(names)})" for difference, names in found.items())
    return [f"scored with different library versions, which should change no value: {listed}"]


def _prompt_difference(a: Run, b: Run) -> str:
    changed = sorted(dict(a.prompts).items() ^ dict(b.prompts).items())
    if len(a.prompts) != len(b.prompts):
        return f"{len(a.prompts)} against {len(b.prompts)} prompts"
    return f"for instance {changed[0][0]}" if changed else "not the same list"


def require_comparable(runs: Sequence[Run], seeds: bool = True) -> None:
    """NotComparableError that names the first pair of runs and the field in which they differ."""
    for i, run in enumerate(runs):
        for other in runs[:i]:
            why = why_not_comparable(other, run, seeds)
            if why:
                raise NotComparableError(f"{other.name} and {run.name} are not comparable: {why}")


def largest_comparable(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """The largest group of runs that are all comparable, and the others with the reason.

    Of equally large groups the one with more prompts, then with more images, then the first by name is taken. Metrics
    whose cards differ within the group are still there: see `with_equal_cards`.
    """
    groups: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run.name):
        home = next((g for g in groups if all(why_not_comparable(member, run) is None for member in g)), None)
        groups.append([run]) if home is None else home.append(run)
    groups.sort(key=lambda g: (-len({run.method for run in g}), -len(g[0].prompts), -g[0].n_images))
    kept = groups[0]
    others = [run for group in groups[1:] for run in group]
    return kept, [LeftOut(run.name, _first_reason(kept, run), run.method, run.suite) for run in others]


def _first_reason(kept: Sequence[Run], run: Run) -> str:
    return next((why for member in kept if (why := why_not_comparable(member, run))), "not comparable")
