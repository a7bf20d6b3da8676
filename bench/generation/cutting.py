"""How a run's images are cut into batches, as its manifest keeps it: `batches`.

    {"size": 32, "sizes": [32, 16], "layers": [[0, 2, ""], [2, 4, "0-9,14"]]}

`size` is what the run was begun with, by which its list of images is cut whoever makes them. `sizes` are all that the
device was given at a time: a second one means that memory ran out, or that another one was asked for later. `layers`
are the samples that were asked for together ([first, end, indices of the images that were taken over from other runs]).
Where the images of a prompt are one unit, the identity says of how many, and batches hold whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.errors import UsageError
from bench.sampling.batches import Cut, Layer
from bench.store.records import MOST_SAMPLES, Manifest
from bench.suite.schema import MOST_IMAGES


def layers_of(manifest: Manifest, begun: bool) -> Cut:
    """How a run is cut, with the samples that its manifest asks for; the size is 0 where it is not known yet.

    `begun`: whether it has images. A run without any is cut as if nobody had asked for it before.
    """
    kept = manifest.batches if begun else {}
    layers = tuple(_layer(one) for one in kept.get("layers", ()))
    before = int(manifest.timings.get("batch_size") or 0) if begun else 0  # of a run of an earlier version
    return Cut(int(kept.get("size") or before), layers, group_of(manifest)).grown(manifest.samples)


def group_of(manifest: Manifest) -> int:
    """How many images of a prompt are one unit, because they were made to push each other apart; 1 of other runs."""
    return int(manifest.identity.get("coupling", {}).get("samples", 1))


def noted(manifest: Manifest, cut: Cut, size: int | None = None) -> None:
    """Put into the manifest how a run is cut, and how many images go through the network together from now on."""
    sizes = [int(one) for one in manifest.batches.get("sizes", ())] if cut.size else []
    if size is not None:
        sizes = [*sizes, size] if sizes[-1:] != [size] else sizes
        manifest.timings["batch_size"] = size
    layers = [[layer.first, layer.end, ranges(layer.reused)] for layer in cut.layers]
    manifest.batches = {"size": cut.size, "sizes": sizes, "layers": layers}


def smaller_batches(manifest: Manifest) -> str:
    """What a reader of the run should know of its batches, as a clause; "" where all were of the size planned.

    >>> from types import SimpleNamespace
    >>> smaller_batches(SimpleNamespace(batches={"size": 8, "sizes": [8, 4], "layers": []}))
    'batches of 8 were planned, and some images were made 4 at a time: last bits may differ from a run that was not'
    """
    size, sizes = manifest.batches.get("size"), manifest.batches.get("sizes", ())
    others = [str(one) for one in dict.fromkeys(sizes) if one != size]
    if not others:
        return ""
    told = f"batches of {size} were planned, and some images were made {' or '.join(others)} at a time"
    return f"{told}: last bits may differ from a run that was not"


def ranges(indices: Iterable[int]) -> str:
    """Whole numbers as ranges.

    >>> ranges({0, 1, 2, 7}), sorted(numbers("0-2,7"))
    ('0-2,7', [0, 1, 2, 7])
    """
    found: list[list[int]] = []
    for index in sorted(indices):
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def numbers(text: str) -> frozenset[int]:
    """The whole numbers of ranges."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        low, _, high = part.partition("-")
        if int(high or low) >= MOST_IMAGES:
            raise ValueError(part)
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


def _layer(given: Any) -> Layer:
    try:
        first, end, reused = given
        if not 0 <= first < end <= MOST_SAMPLES:
            raise ValueError
        return Layer(int(first), int(end), numbers(reused))
    except (TypeError, ValueError, AttributeError):
        raise UsageError(
            f"the manifest is damaged: batches.layers must be [first, end, ranges] each, got {str(given)[:60]}"
        ) from None
