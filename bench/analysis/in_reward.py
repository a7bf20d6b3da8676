"""What a method was trained on: the dagger of compare, report and gate, with one meaning and one wording.

It follows the weights, not the name: two methods with the same tuned weights have it together, whichever of them says
so, and a method that runs no tuned weights has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.store.runs import Run
from bench.store.trained import averaged
from metrics.types import corrected_name

DAGGER = "†"
TRAINED = "trained on this metric"


def in_reward(trained_on: Sequence[str], metric: str) -> bool:
    """Whether a metric is among those that a method was trained on, by whichever protocol it is measured."""
    return corrected_name(metric) in {corrected_name(name) for name in trained_on}


def with_training(runs: Sequence[Run]) -> list[Run]:
    """The runs, each with all metrics that any run of the same tuned weights says they were trained on.

    Averaged weights also have what is said of those that they are averaged of. What a run searched by is its own alone.
    """
    said: dict[str, dict[str, None]] = {}
    for run in runs:
        if _known(run):
            said.setdefault(run.tuned, {}).update(dict.fromkeys(_of_weights(run)))

    def shared(run: Run) -> Run:
        found = [one for weights in (run.tuned, *averaged(run.tuned)) for one in said.get(weights, ())]
        return replace(run, trained_on=tuple(dict.fromkeys([*found, *run.trained_on])))

    return [shared(run) if _known(run) else run for run in runs]


def _known(run: Run) -> bool:
    """Whether it is on record which tuned weights ran: of averaged ones, older leaderboards say only "soup"."""
    return run.tuned not in ("", "soup")


def _of_weights(run: Run) -> tuple[str, ...]:
    """What a run says that its weights were trained on, without what it searched by."""
    return tuple(one for one in run.trained_on if one != run.searched)


def training_notes(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """A sentence for weights of which the runs say different things; `runs` as they were read."""
    found = []
    for tuned in dict.fromkeys(run.tuned for run in runs if _known(run)):
        told = {name: _of_weights(run) for run, name in zip(runs, names, strict=True) if run.tuned == tuned}
        if len(set(map(frozenset, told.values()))) > 1:
            each = ", ".join(f"{name} {' and '.join(on) or 'nothing'}" for name, on in told.items())
            found.append(f"the same weights, said to be trained on different metrics ({each}): all of them are marked")
    return found


def dagger_line(who: Mapping[str, Sequence[str]] | None = None) -> str:
    """The legend of the dagger; `who`: metric -> methods, where the mark itself does not stand beside a method.

    >>> dagger_line({"PickScore": ["refl", "aig"]})
    '† trained on this metric: refl and aig (PickScore)'
    """
    listed = "; ".join(f"{_and(methods)} ({metric})" for metric, methods in (who or {}).items() if methods)
    return f"{DAGGER} {TRAINED}" + (f": {listed}" if listed else "")


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
