"""The caption grammar of the embedded world: "a [size] [colour] SHAPE [position] [on a BACKGROUND background]"."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.shapes.world import BACKGROUNDS, COLOURS, POSITIONS, SHAPES, SIZES, Scene

ATTRIBUTES = ("shape", "colour", "background", "size", "position")
VALUES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "background": BACKGROUNDS,
    "size": SIZES,
    "position": POSITIONS,
}
NAMING_PROBABILITY = {"shape": 0.7, "colour": 0.55, "background": 0.5, "size": 0.35, "position": 0.35}
"""How often a caption names an attribute that has a word."""

_POSITION_PHRASES = {
    "centre": "in the centre",
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
}
WORDS = tuple(
    dict.fromkeys(
        ["a", "shape", "background", "in", "on", "at", "the", *SHAPES, *COLOURS, *BACKGROUNDS, *SIZES, *POSITIONS]
    )
)
"""Every word of the grammar; tokenizers of the world know each as one token."""


def caption(named: Mapping[str, str]) -> str:
    """Write the caption that names exactly these attributes.

    Raises `ValueError` for an attribute or a value that the world does not have.
    """
    for attribute, value in named.items():
        if value not in VALUES.get(attribute, ()):
            raise ValueError(f"the world of shapes has no {attribute} '{value}'")
    words = ["a"]
    words += [named[a] for a in ("size", "colour") if a in named]
    words.append(named.get("shape", "shape"))
    if "position" in named:
        words.append(_POSITION_PHRASES[named["position"]])
    if "background" in named:
        words.append(f"on a {named['background']} background")
    return " ".join(words)


def parse(text: str) -> dict[str, str]:
    """Read which attributes a caption names: the inverse of `caption` on its range.

    On free text it finds what it can: a grey level directly before "background", and the other words anywhere.
    """
    tokens = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    named: dict[str, str] = {}
    for index, token in enumerate(tokens):
        if token in BACKGROUNDS and index + 1 < len(tokens) and tokens[index + 1] == "background":
            named.setdefault("background", token)
            continue
        for attribute in ("shape", "colour", "size", "position"):
            if token in VALUES[attribute]:
                named.setdefault(attribute, token)
    return named


def random_named(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """Choose which attributes of a scene to name; those without a fitting word stay unnamed."""
    chosen: dict[str, str] = {}
    for attribute, value in scene.attributes().items():
        if rng.random() < NAMING_PROBABILITY[attribute] and value is not None:
            chosen[attribute] = value
    return chosen


def random_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that is true of the scene and names a random part of its attributes."""
    return caption(random_named(scene, rng))
