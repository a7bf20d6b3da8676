"""Methods that were trained on the images, or the collection of images, that a set metric compares with. Pure.

A suite names its reference images (`[reference] name = "coco-val2017"`) and what the weights of its methods saw
(`[methods.NAME] trained_on_data = ["coco-train2017"]`); of published checkpoints it is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import metrics
from metrics.set.leakage import SAW, leakage_notes

if TYPE_CHECKING:
    from bench.suite.schema import Reference

# How the name of published weights begins -> the image sets that they were trained on.
# ImageReFL: captions and images of COCO's training split in the official configuration, which says no year.
PUBLISHED: Mapping[str, tuple[str, ...]] = {"ControlGenAI/ImageReFL_": ("coco-train",)}


def trained_on_data(method: Mapping[str, Any]) -> tuple[str, ...]:
    """The image sets that a resolved method's weights were trained on: what the suite says, else what is published."""
    said = tuple(str(name) for name in method.get("trained_on_data") or ())
    weights = str(method.get("weights") or "")
    return said or next((sets for start, sets in PUBLISHED.items() if weights.startswith(start)), ())


def with_leakage(
    notes: Mapping[str, list[str]], scored: list[str], reference: Reference | None, method: Mapping[str, Any]
) -> dict[str, list[str]]:
    """A manifest's notes with what has to be said of the `scored` set metrics, and without what no longer has to be."""
    found = {name: [sentence for sentence in sentences if SAW not in sentence] for name, sentences in notes.items()}
    if reference is not None and reference.name:
        for name in scored:
            facts = metrics.info(name)
            if facts.kind == metrics.Kind.SET and facts.reference:
                said = leakage_notes(facts.title, reference.name, trained_on_data(method))
                found[name] = [*found.get(name, []), *said]
    return {name: sentences for name, sentences in found.items() if sentences}
