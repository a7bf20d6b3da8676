"""Which samples go through the network together. Pure.

Sums inside a convolution may depend, in the last bit, on the batch it is computed in. So that a run that was killed
ends with exactly the images of one that was not, batches are cut from the list of all items in its order: what is
still to make after a kill are whole batches. A single image that was damaged later is made again in its old company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

Key = tuple[str, int]
"""(prompt id, sample)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch: all `keys` are computed, and `save` says for each run which of them it wants."""

    keys: tuple[Key, ...]
    save: Mapping[str, frozenset[Key]]


def cut(work: Work, size: int) -> list[Work]:
    """The same work in pieces of at most `size`; pieces that nobody wants anything of are left out."""
    pieces = []
    for start in range(0, len(work.keys), size):
        # Cut by what is computed and not by what is wanted: the neighbours of a wanted item stay as near as they can.
        keys = work.keys[start : start + size]
        wanted = {run: frozenset(key for key in keys if key in save) for run, save in work.save.items()}
        wanted = {run: save for run, save in wanted.items() if save}
        if wanted:
            pieces.append(Work(keys, wanted))
    return pieces


def make_work(
    order: Sequence[Key], missing: Mapping[str, Set[Key]], lost: Mapping[str, Set[Key]], size: int
) -> list[Work]:
    """Batches of at most `size` for what each run misses (was never made) and lost (was made, and is damaged).

    Items that the same runs miss are batched together, so that those runs share their trunk; batches come in the
    order of their first item.
    """
    # By the set of runs that miss an item, so that every batch is one tree in which all runs want all items.
    groups: dict[frozenset[str], list[Key]] = {}
    for key in order:
        runs = frozenset(name for name, keys in missing.items() if key in keys)
        if runs:
            groups.setdefault(runs, []).append(key)
    work = [
        Work(tuple(keys[start : start + size]), {run: frozenset(keys[start : start + size]) for run in runs})
        for runs, keys in groups.items()
        for start in range(0, len(keys), size)
    ]
    # What was damaged is computed with the whole batch that it had when everything was missing, although only it is
    # saved: with other neighbours its last bits could differ from those of the images that are still there.
    for start in range(0, len(order), size):
        chunk = tuple(order[start : start + size])
        wanted = {run: frozenset(key for key in chunk if key in keys) for run, keys in lost.items()}
        wanted = {run: keys for run, keys in wanted.items() if keys}
        if wanted:
            work.append(Work(chunk, wanted))
    rank = {key: index for index, key in enumerate(order)}
    return sorted(work, key=lambda batch: rank[batch.keys[0]])
