"""Which runs may stand side by side in one table, and if not, the field in which they differ."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import NotComparableError
from bench.store.cards import card_difference, library_difference
from bench.store.runs import Run
from bench.store.select import LeftOut


def why_not_comparable(a: Run, b: Run, seeds: bool = True) -> str | None:
    """The first field in which two runs may not stand side by side, as a clause; None when they are comparable.

    Compared: suite, prompts, samples, sampling conditions, and the cards of the metrics that both have. `seeds=False`
    allows different seeds (a comparison by prompt is still sound; only the noise is no longer the same).
    """
    if a.suite != b.suite:
        return f"suite differs: {a.suite} against {b.suite}"
    if a.prompts_digest != b.prompts_digest:
        return f"prompts differ: {_prompt_difference(a, b)}"
    if a.samples != b.samples:
        return f"samples differ: {a.samples} against {b.samples} images per prompt"
    for key in a.conditions.keys() & b.conditions.keys() - (set() if seeds else {"seed"}):
        if a.conditions[key] != b.conditions[key]:
            return f"{key} differs: {a.conditions[key]} against {b.conditions[key]}"
    for name in sorted(a.metrics.keys() & b.metrics.keys()):
        how = card_difference(a.metrics[name].card, b.metrics[name].card)
        if how:
            return f"metric {name} was computed differently: {how}; score both again with `bench score`"
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

    Of equally large groups the one with more prompts, then with more images, then the first by name is taken.
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
