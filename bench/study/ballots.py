"""The votes of one task as arrays, which all statistics of a study read.

Only votes of kind "real" count. A rater's second answer to one item is left out and counted. An adaptive study has
votes with chances: their weights are made in `bench.study.adaptive`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.formatting import one_line
from bench.study.votes import Vote

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ballots:
    """N votes of one task. `a`, `b` [N] index `methods`; `y` [N] is 1 where a won, 0 where b won, 0.5 for a tie.

    `left` [N] is 1 where a was on the left, else -1; `weights` [N] are positive; `chances` [N] are NaN in a balanced
    study. a < b throughout, whichever way the items had them.
    """

    methods: tuple[str, ...]
    a: Ints
    b: Ints
    y: Floats
    raters: Ints  # [N], index of `rater_names`
    prompts: Ints  # [N], index of `prompt_names`
    left: Floats
    weights: Floats
    chances: Floats
    rater_names: tuple[str, ...] = ()
    prompt_names: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    duplicates: int = 0

    def __len__(self) -> int:
        """How many votes there are."""
        return len(self.y)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs that have votes, in the order of the methods."""
        return sorted(set(zip(self.a.tolist(), self.b.tolist(), strict=True)))

    def where(self, keep: NDArray[np.bool_]) -> Ballots:
        """The votes that a mask [N] keeps; methods, raters and prompts keep their numbers."""
        arrays = {name: getattr(self, name)[keep] for name in _ARRAYS}
        items = tuple(np.array(self.items, dtype=object)[keep]) if self.items else ()
        return replace(self, items=items, **arrays)

    def of_pair(self, a: int, b: int) -> Ballots:
        """The votes of one pair, a < b."""
        return self.where((self.a == a) & (self.b == b))

    def without(self, raters: Collection[str]) -> Ballots:
        """The votes of all other raters."""
        dropped = [i for i, name in enumerate(self.rater_names) if name in raters]
        return self.where(~np.isin(self.raters, dropped))


_ARRAYS = ("a", "b", "y", "raters", "prompts", "left", "weights", "chances")


def ballots(votes: Sequence[Vote], task: str | None = None, methods: Sequence[str] = ()) -> Ballots:
    """The real votes of a task (None: all are of one task). `methods` gives their order; others follow by name.

    Weights are 1. UsageError: no such votes.
    """
    real = [vote for vote in votes if vote.kind == "real" and (task is None or vote.task == task)]
    seen: set[tuple[str, str]] = set()
    kept = [vote for vote in real if not ((vote.rater, vote.item) in seen or seen.add((vote.rater, vote.item)))]  # type: ignore[func-returns-value]
    if not kept:
        of_task = f" of the task {task}" if task else ""
        raise UsageError(f"there are no votes{of_task} to judge: practice, checks and repeats are not counted")
    found = {name for vote in kept for name in (vote.method_a, vote.method_b)}
    names = (*(m for m in dict.fromkeys(methods) if m in found), *sorted(found - set(methods)))
    index = {name: i for i, name in enumerate(names)}
    raters, prompts = (sorted({getattr(vote, key) for vote in kept}) for key in ("rater", "prompt_id"))
    rater_index, prompt_index = ({name: i for i, name in enumerate(one)} for one in (raters, prompts))
    first, second = (np.array([index[getattr(v, key)] for v in kept]) for key in ("method_a", "method_b"))
    flip = first > second
    y = np.array([vote.outcome for vote in kept])
    left = np.array([1.0 if vote.left == vote.method_a else -1.0 for vote in kept])
    return Ballots(
        methods=names,
        a=np.where(flip, second, first),
        b=np.where(flip, first, second),
        y=np.where(flip, 1 - y, y),
        raters=np.array([rater_index[vote.rater] for vote in kept]),
        prompts=np.array([prompt_index[vote.prompt_id] for vote in kept]),
        left=np.where(flip, -left, left),
        weights=np.ones(len(kept)),
        chances=np.array([vote.chance for vote in kept]),
        rater_names=tuple(raters),
        prompt_names=tuple(prompts),
        items=tuple(vote.item for vote in kept),
        duplicates=len(real) - len(kept),
    )


def dominant(votes: Ballots) -> Iterator[str]:
    """Sentences where one of several raters, or prompts, has most of the votes: intervals rest on that one."""
    for what, labels, names in (
        ("rater", votes.raters, votes.rater_names),
        ("prompt", votes.prompts, votes.prompt_names),
    ):
        counts = np.bincount(labels)
        if np.count_nonzero(counts) > 2 and 2 * counts.max() > counts.sum():
            name = one_line(names[int(counts.argmax())])
            yield (
                f"{100 * counts.max() / counts.sum():.0f} % of the votes are of the {what} {name}: intervals "
                f"over {what}s rest on that one, and may be too narrow"
            )
