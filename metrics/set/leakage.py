"""What to say where a method was trained on the images that a set metric compares with. Light."""

from __future__ import annotations

import re
from collections.abc import Iterable

SAW = ": the method was trained on "
"""In every sentence of this module."""


def leakage_notes(title: str, reference: str, trained_on: Iterable[str]) -> list[str]:
    """A warning where a method was trained on the reference set of a set metric, or on its collection; or nothing.

    `reference` names the reference set, `trained_on` the image sets that the method saw. This package knows neither:
    who keeps the runs has to say. Names are compared without case; the collection is the first word of a name, so
    "coco-train2017" and "coco-val2017" are two sets of one collection.
    """
    names = list(dict.fromkeys(trained_on))
    if reference.casefold() in {name.casefold() for name in names}:
        return [f"{title}{SAW}its reference set '{reference}', the others may not have been"]
    near = [name for name in names if _collection(name) == _collection(reference)]
    if not near:
        return []
    listed = " and ".join(f"'{name}'" for name in near)
    return [f"{title}{SAW}{listed}, the collection of its reference set '{reference}'; the others may not have been"]


def _collection(name: str) -> str:
    """The first word: letters up to whatever else."""
    found = re.match(r"[^\W\d_]+", name.casefold())
    return found[0] if found else name.casefold()
