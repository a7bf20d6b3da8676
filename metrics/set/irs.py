"""IRS, the image retrieval score (Dombrowski et al. 2025, arXiv 2411.16171): the reference images a model can reach.

Each generated image retrieves its nearest reference image (cosine of an encoder's embeddings). Of n generated images u
different reference images are retrieved; were s of the M reachable with equal chance, u would have the distribution of
occupied cells, and the value is the most likely s divided by M, in (0, 1]. With few images every one retrieves another
and the most likely s is all of M: the value is then an upper bound, and says so. Checked against our reading of the
paper, not against the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from metrics.base.kinds import make_card, pick_device
from metrics.networks.hf_folder import weight_files
from metrics.networks.image_encoders import OPTION_HELP, load_choice
from metrics.set.kinds import EncoderSetMetric, KernelMetric
from metrics.set.moments import Array, Features
from metrics.types import Facts, Request

_BLOCK = 1024


def retrieved(fake: Array, real: Array) -> int:
    """How many different rows of `real` [M, D] are the nearest (largest cosine) of some row of `fake` [n, D]."""
    real = real / np.linalg.norm(real, axis=1, keepdims=True)
    found: set[int] = set()
    for start in range(0, len(fake), _BLOCK):
        found.update((fake[start : start + _BLOCK] @ real.T).argmax(axis=1).tolist())
    return len(found)


def reachable(distinct: int, draws: int, most: int) -> int:
    """The most likely number s of equally likely cells (distinct <= s <= most) if `draws` draws fill `distinct` cells.

    The likelihood s! / (s - u)! / s^n has one peak, found by bisection of its growth from s to s + 1.

    >>> reachable(1, 10, 100), reachable(10, 10, 100)
    (1, 100)
    """

    def grows(s: int) -> bool:
        return math.log(s + 1) - math.log(s + 1 - distinct) - draws * math.log1p(1 / s) > 0

    low, high = distinct, most
    while low < high:
        middle = (low + high) // 2
        if grows(middle):
            low = middle + 1
        else:
            high = middle
    return low


class IRS(EncoderSetMetric[Features], KernelMetric):
    """The share of the reference images that the model can reach, in 0..1; higher is more diverse."""

    option_help: ClassVar[Mapping[str, str]] = {"encoder": OPTION_HELP}

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of the encoder that the option names."""
        device = pick_device(request.device)
        facts, encoder, width, folder = load_choice(request.options.get("encoder"), facts, request, device)
        settings: dict[str, Any] = {
            **encoder.settings,
            "similarity": "cosine",
            "estimate": "most likely number of equally likely reference images, over their number",
            "statistics": "float64",
        }
        return cls(make_card(facts, request, weight_files(folder, facts.title), settings), device, encoder, width)

    def discrepancy(self, a: Array, b: Array) -> float:
        """The value of generated features [n, D] (a) against the reference [M, D] (b); NaN for fewer than two rows."""
        if min(len(a), len(b)) < 2:
            return math.nan
        return reachable(retrieved(a, b), len(a), len(b)) / len(b)

    def _few(self, n: int, what: str) -> list[str]:
        if what != "images" or n >= 5000:
            return []
        return [
            f"{self.card.facts.title} over {n:,} images is an upper bound where nearly every image retrieves another "
            "reference image: use several times as many images as the model can reach"
        ]
