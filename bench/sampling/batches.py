"""Which samples go through the network together. Pure.

Sums inside a convolution may depend, in the last bit, on the batch it is computed in. So batches are cut from the list
of all images of a run, and from nothing else: what is there already, who makes a batch, and in which order they are
made change no image. A batch of which only some images are wanted is computed whole, and only those are saved.

The images of a prompt are one unit, or "group", where a method has them push each other apart: no batch splits one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

Key = tuple[str, int]
"""(prompt id, sample)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch: all `keys` are computed, and `save` says for each run which of them it wants.

    `group` images in a row are one unit, which is never split.
    """

    keys: tuple[Key, ...]
    save: Mapping[str, frozenset[Key]]
    group: int = 1


@dataclass(frozen=True, slots=True)
class Layer:
    """Images that a run was first asked for together: samples `first` to `end` - 1 of every prompt.

    `reused` are indices in that list (prompts in their order, samples of each) of images that were taken over from
    another run: there they were made in other company, and this run makes them only if they are lost.
    """

    first: int
    end: int
    reused: frozenset[int] = frozenset()

    def keys(self, prompts: Sequence[str]) -> list[Key]:
        """The images, prompts in their order."""
        return [(prompt, sample) for prompt in prompts for sample in range(self.first, self.end)]


@dataclass(frozen=True, slots=True)
class Cut:
    """How a run's images are cut into batches: by the size it was begun with, in layers of samples.

    `group` images of a prompt are one unit: batches hold whole ones, at least one, whatever the size.
    """

    size: int
    layers: tuple[Layer, ...]
    group: int = 1

    def batches(self, prompts: Sequence[str], wanted: Set[Key]) -> list[tuple[Key, ...]]:
        """The batches of a run of these prompts that hold a wanted image, whole."""
        found = []
        for layer in self.layers:
            keys = layer.keys(prompts)
            reused = self._wholly(layer.reused)
            own = [key for index, key in enumerate(keys) if index not in reused]
            # A picture that was taken over and is lost is made in the company that it would have had.
            again = [key for index, key in enumerate(keys) if index in reused and key in wanted]
            size = whole(self.size, self.group)
            found += [batch for batch in _pieces(own, size) if not wanted.isdisjoint(batch)]
            found += [batch for batch in _pieces(keys, size) if again and not set(again).isdisjoint(batch)]
        return found

    def _wholly(self, reused: Set[int]) -> Set[int]:
        """Of images that were taken over those whose whole unit was: the other units are made, with all they have."""
        if self.group == 1:
            return reused
        units = {index // self.group for index in reused}
        kept = [range(unit * self.group, (unit + 1) * self.group) for unit in units]
        return {index for unit in kept if reused >= set(unit) for index in unit}

    def all_batches(self, prompts: Sequence[str]) -> list[tuple[Key, ...]]:
        """Every batch of a run of these prompts."""
        return self.batches(prompts, {key for layer in self.layers for key in layer.keys(prompts)})

    def grown(self, samples: int) -> Cut:
        """With the samples that a run is asked for beyond those it knows."""
        end = max((layer.end for layer in self.layers), default=0)
        return self if samples <= end else replace(self, layers=(*self.layers, Layer(end, samples)))

    def reusing(self, prompts: Sequence[str], taken: Set[Key]) -> Cut:
        """With more images that were taken over from other runs."""
        layers = tuple(
            replace(layer, reused=layer.reused | {i for i, key in enumerate(layer.keys(prompts)) if key in taken})
            for layer in self.layers
        )
        return replace(self, layers=layers)


def whole(size: int, group: int) -> int:
    """The most images of whole units that `size` holds; one unit where it holds none.

    >>> whole(32, 5), whole(3, 5), whole(8, 1)
    (30, 5, 8)
    """
    return max(group, size // group * group)


def cut(work: Work, size: int) -> list[Work]:
    """The same work in pieces of at most `size`, or of one unit; pieces that nobody wants anything of are left out."""
    pieces = []
    for keys in _pieces(work.keys, whole(size, work.group)):
        # Cut by what is computed and not by what is wanted: the neighbours of a wanted item stay as near as they can.
        wanted = {run: frozenset(key for key in keys if key in save) for run, save in work.save.items()}
        wanted = {run: save for run, save in wanted.items() if save}
        if wanted:
            pieces.append(Work(keys, wanted, work.group))
    return pieces


def make_work(prompts: Sequence[str], wanted: Mapping[str, Set[Key]], cuts: Mapping[str, Cut]) -> list[Work]:
    """Batches for what each run wants. Runs that are cut alike share a batch, and so the trunk of its tree.

    Those with units of several images share none with others, which memory may have to cut smaller.

    They come in the order of their first image (prompts in their order, samples of each).
    """
    saved: dict[tuple[tuple[Key, ...], int], dict[str, frozenset[Key]]] = {}
    for run, keys in wanted.items():
        left = set(keys)
        for batch in cuts[run].batches(prompts, keys):
            save = frozenset(left.intersection(batch))
            left -= save
            if save:
                saved.setdefault((batch, cuts[run].group), {})[run] = save
    rank = {prompt: index for index, prompt in enumerate(prompts)}
    work = [Work(keys, save, group) for (keys, group), save in saved.items()]
    return sorted(work, key=lambda one: (rank[one.keys[0][0]], one.keys[0][1]))


def _pieces(keys: Sequence[Key], size: int) -> list[tuple[Key, ...]]:
    return [tuple(keys[start : start + size]) for start in range(0, len(keys), size)]
