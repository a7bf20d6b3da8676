"""Which samples go through the network together. Pure.

Sums inside a convolution may depend, in the last bit, on the batch it is computed in. So batches are cut from the list
of all images of a run, and from nothing else: what is there already, who makes a batch, and in which order they are
made change no image. A batch of which only some images are wanted is computed whole, and only those are saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

Key = tuple[str, int]
"""(prompt id, sample)."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch: all `keys` are computed, and `save` says for each run which of them it wants."""

    keys: tuple[Key, ...]
    save: Mapping[str, frozenset[Key]]


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
    """How a run's images are cut into batches: by the size it was begun with, in layers of samples."""

    size: int
    layers: tuple[Layer, ...]

    def batches(self, prompts: Sequence[str], wanted: Set[Key]) -> list[tuple[Key, ...]]:
        """The batches of a run of these prompts that hold a wanted image, whole."""
        found = []
        for layer in self.layers:
            keys = layer.keys(prompts)
            own = [key for index, key in enumerate(keys) if index not in layer.reused]
            # A picture that was taken over and is lost is made in the company that it would have had.
            again = [key for index, key in enumerate(keys) if index in layer.reused and key in wanted]
            found += [batch for batch in _pieces(own, self.size) if not wanted.isdisjoint(batch)]
            found += [batch for batch in _pieces(keys, self.size) if again and not set(again).isdisjoint(batch)]
        return found

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


def cut(work: Work, size: int) -> list[Work]:
    """The same work in pieces of at most `size`; pieces that nobody wants anything of are left out."""
    pieces = []
    for keys in _pieces(work.keys, size):
        # Cut by what is computed and not by what is wanted: the neighbours of a wanted item stay as near as they can.
        wanted = {run: frozenset(key for key in keys if key in save) for run, save in work.save.items()}
        wanted = {run: save for run, save in wanted.items() if save}
        if wanted:
            pieces.append(Work(keys, wanted))
    return pieces


def make_work(prompts: Sequence[str], wanted: Mapping[str, Set[Key]], cuts: Mapping[str, Cut]) -> list[Work]:
    """Batches for what each run wants. Runs that are cut alike share a batch, and so the trunk of its tree.

    They come in the order of their first image (prompts in their order, samples of each).
    """
    saved: dict[tuple[Key, ...], dict[str, frozenset[Key]]] = {}
    for run, keys in wanted.items():
        left = set(keys)
        for batch in cuts[run].batches(prompts, keys):
            save = frozenset(left.intersection(batch))
            left -= save
            if save:
                saved.setdefault(batch, {})[run] = save
    rank = {prompt: index for index, prompt in enumerate(prompts)}
    return [
        Work(keys, save) for keys, save in sorted(saved.items(), key=lambda one: (rank[one[0][0][0]], one[0][0][1]))
    ]


def _pieces(keys: Sequence[Key], size: int) -> list[tuple[Key, ...]]:
    return [tuple(keys[start : start + size]) for start in range(0, len(keys), size)]
