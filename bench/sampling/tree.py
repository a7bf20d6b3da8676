"""The steps that methods share, as a tree: the trunk runs once, branches fork. Pure: no model, no tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.methods.coupling import Coupling
    from bench.models.reuse import Reuse
    from bench.sampling.rules import Rule, Taylor


@dataclass(frozen=True, slots=True)
class Side:
    """One network's part in a step: which network, its guidance scale, its weight in the sum.

    `embedded`: the guidance is an input of the network, not a second evaluation. `rule` is how guidance is applied
    (None: plainly), `reuse` whether deep features are kept for later steps, or taken from an earlier one, `threshold`
    how much the first block may differ for the others to be left out (None: they run), `taylor` whether attention
    layers are extrapolated (None: they run). `coupling` is how the images of a prompt push each other apart after the
    step's prediction: all sides of a step have the same.
    """

    network: str
    guidance: float
    weight: float = 1.0
    embedded: bool = False
    rule: Rule | None = None
    reuse: Reuse = ""
    threshold: float | None = None
    taylor: Taylor | None = None
    coupling: Coupling | None = None

    @property
    def evaluations(self) -> int:
        """Single-sample network forwards: 2 with classifier-free guidance, else 1; a rule may need others."""
        if self.rule is not None and self.rule.evaluations is not None:
            return self.rule.evaluations
        return 2 if self.guidance > 1.0 and not self.embedded else 1

    @property
    def unguided_evaluations(self) -> int:
        """Those at a time at which the model leaves guidance out; rules of their own run all the same."""
        own = self.rule is not None and self.rule.evaluations is not None
        return self.evaluations if own else 1


Action = tuple[Side, ...]
"""What one step runs: one side, or both with weights 1 - w and w."""
Network = tuple[str, float] | tuple[str, float, bool]
"""A network's name, its guidance, and whether that is embedded."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps start..stop-1 that `runs` share, then a fork; a run without a child of its own ends here."""

    start: int
    actions: tuple[Action, ...]
    runs: tuple[str, ...]
    children: tuple[Segment, ...]

    @property
    def stop(self) -> int:
        """The step after the last."""
        return self.start + len(self.actions)

    @property
    def evaluations(self) -> int:
        """Single-sample network forwards of this segment alone, where each step evaluates once."""
        return sum(cost(action) for action in self.actions)


def cost(action: Action, guided: bool = True) -> int:
    """Single-sample network forwards of one step; `guided`: whether the model applies guidance at its time."""
    return sum(side.evaluations if guided else side.unguided_evaluations for side in action)


def actions_of(weights: Sequence[float], base: Network, tuned: Network | None = None) -> tuple[Action, ...]:
    """The steps of a schedule: prediction_i = (1 - w_i) * base + w_i * tuned, an unused side not run.

    `base` and `tuned` are (network name, guidance), or (network name, guidance, whether it is embedded). Raises
    ValueError for a weight above 0 without a tuned network.
    """
    steps: list[Action] = []
    for weight in weights:
        if weight == 0.0:
            steps.append((_side(base),))
        elif tuned is None:
            raise ValueError("a schedule with weights above 0 needs a tuned network")
        elif weight == 1.0:
            steps.append((_side(tuned),))
        else:
            steps.append((_side(base, 1.0 - weight), _side(tuned, weight)))
    return tuple(steps)


def _side(network: Network, weight: float = 1.0) -> Side:
    name, guidance, *embedded = network
    return Side(name, guidance, weight, bool(embedded and embedded[0]))


def build_tree(runs: Mapping[str, tuple[Action, ...]]) -> Segment:
    """The tree of all runs (name -> actions, all of the same length T), in the order given.

    Runs that are equal to the end stay together in one leaf. If nothing is shared the root has no steps.
    """
    if not runs:
        raise ValueError("a tree needs at least one run")
    if len({len(actions) for actions in runs.values()}) != 1:
        raise ValueError("all runs of a tree must have the same number of steps")
    return _grow(runs, 0)


def _grow(runs: Mapping[str, tuple[Action, ...]], start: int) -> Segment:
    first = next(iter(runs.values()))
    stop = start
    # What a rule remembers of earlier steps is the same where all steps so far are the same, so that a fork copies it.
    # Whole actions are compared, guidance and weights as floats by ==. Two schedules whose weights differ in the last
    # bit fork here and lose time; shared steps that are merely close would be another method's images.
    while stop < len(first) and all(actions[stop] == first[stop] for actions in runs.values()):
        stop += 1
    children: list[Segment] = []
    if stop < len(first):
        # A dict keeps the order of the runs. It decides which of several runs is "the first", to whom shared steps are
        # charged, and so makes the recorded costs the same at every call.
        groups: dict[Action, dict[str, tuple[Action, ...]]] = {}
        for name, actions in runs.items():
            groups.setdefault(actions[stop], {})[name] = actions
        children = [_grow(group, stop) for group in groups.values()]
    return Segment(start, first[start:stop], tuple(runs), tuple(children))


def needed(
    runs: Mapping[str, tuple[Action, ...]],
    per_step: Sequence[int] | None = None,
    unguided: Sequence[int] | None = None,
) -> dict[str, int]:
    """Single-sample network forwards of each run on its own.

    `per_step` is how often each step evaluates its networks, for schedulers of second order; once if it is None.
    `unguided` is at how many of those times the model leaves guidance out; at none if it is None.
    """

    def forwards(actions: tuple[Action, ...]) -> int:
        times, without = per_step or [1] * len(actions), unguided or [0] * len(actions)
        steps = zip(actions, times, without, strict=True)
        return sum(cost(action) * (all_ - bare) + cost(action, False) * bare for action, all_, bare in steps)

    return {name: forwards(actions) for name, actions in runs.items()}


def executed(
    tree: Segment, per_step: Sequence[int] | None = None, unguided: Sequence[int] | None = None
) -> dict[str, int]:
    """Single-sample network forwards that a tree runs, each charged to the first run that shares it.

    The sum over runs is the tree's total cost. `per_step` and `unguided` as in `needed`.
    """
    charged = dict.fromkeys(tree.runs, 0)  # a run that shares all of its steps with an earlier one costs nothing
    waiting = [tree]
    while waiting:
        segment = waiting.pop()
        own = slice(segment.start, segment.stop)
        part = {segment.runs[0]: segment.actions}
        charged[segment.runs[0]] += needed(part, (per_step or ())[own] or None, (unguided or ())[own] or None)[
            segment.runs[0]
        ]
        waiting.extend(segment.children)
    return charged
