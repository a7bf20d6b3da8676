"""Two metrics of the embedded world that need no network: the oracle reads the pictures.

They check the learned metrics independently: `attribute_accuracy` whether a picture shows what its caption says,
`attribute_entropy` how varied the images of one prompt are in what the caption leaves free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from bench.shapes.captions import ATTRIBUTES, VALUES, parse
from bench.shapes.oracle import Reading, read
from bench.shapes.world import RESOLUTION
from metrics.base.kinds import GroupMetric, Metric, make_card
from metrics.errors import BadInputError
from metrics.images import Images, check_prompts, to_pil
from metrics.types import Card, Facts, Kind, Request

BETWEEN = "between"
"""What a size or a position that no word fits counts as."""
VALUE_COUNTS = {a: len(values) + (a in ("size", "position")) for a, values in VALUES.items()}


def readings(images: Images) -> list[Reading]:
    """Read images of 64 x 64 pixels; BadInputError for another size."""
    frames = to_pil(images)
    for frame in frames:
        if frame.size != (RESOLUTION, RESOLUTION):
            raise BadInputError(
                f"the oracle of shapes reads images of 64 x 64 pixels, not {frame.size[0]} x {frame.size[1]}"
            )
    return [read(np.asarray(frame)) for frame in frames]


def _card(facts: Facts, request: Request) -> Card:
    return make_card(facts, request, [], {"oracle": "chroma mask, radial harmonics 3-5"}, source="bench.shapes.oracle")


class AttributeAccuracy(Metric):
    """Share of the attributes named by the caption that the oracle finds in the picture."""

    kind = Kind.IMAGE
    undefined_reason = "the caption names no attribute of the world of shapes"

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        return cls(_card(facts, request), torch.device("cpu"))

    def score(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Values in [0, 1], float32 [N]; NaN where the caption names nothing, 0 where nothing can be read."""
        found = readings(images)
        texts = check_prompts(prompts, len(found))
        return torch.tensor([accuracy(reading, text) for reading, text in zip(found, texts, strict=True)])


def accuracy(reading: Reading, text: str) -> float:
    """Share of the named attributes that were read as named; NaN if none is named."""
    named = parse(text)
    if not named:
        return float("nan")
    return float(np.mean([reading.attribute(attribute) == value for attribute, value in named.items()]))


class AttributeEntropy(GroupMetric):
    """Entropy of the free attributes over the images of one prompt, as a share of the largest possible."""

    undefined_reason = "fewer than 2 readable images, or the caption leaves no attribute free"

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        return cls(_card(facts, request), torch.device("cpu"))

    def pairwise(self, images: Images) -> Tensor:
        """Share of all five attributes in which two images differ, float32 [K, K]."""
        shown = [[value_of(reading, attribute) for attribute in ATTRIBUTES] for reading in readings(images)]
        rows = [[np.mean([a != b for a, b in zip(one, two, strict=True)]) for two in shown] for one in shown]
        return torch.tensor(rows, dtype=torch.float32)

    def score(self, images: Images, prompt: str | None = None) -> float:
        """Mean of H / log2(min(K, values)) over the attributes that `prompt` does not name, in [0, 1].

        Unreadable images are left out of the counts, so that a ruined picture is not taken for variety. NaN
        (`undefined_reason`) if no free attribute has two readable images.
        """
        named = parse(prompt or "")
        found = readings(images)
        shares = []
        for attribute in ATTRIBUTES:
            values = [v for v in (value_of(reading, attribute) for reading in found) if v is not None]
            if attribute not in named and len(values) >= 2:
                shares.append(entropy(values) / np.log2(min(len(values), VALUE_COUNTS[attribute])))
        return float(np.mean(shares)) if shares else float("nan")


def value_of(reading: Reading, attribute: str) -> str | None:
    """The value of an attribute with "between" for what no word fits; None where the picture cannot be read."""
    value = reading.attribute(attribute)
    if value is None and attribute in ("size", "position") and not np.isnan(reading.radius):
        return BETWEEN
    return value


def entropy(values: Sequence[str]) -> float:
    """Plug-in Shannon entropy in bits."""
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())
