"""Precision, recall, density and coverage of generated images against a reference, in an encoder's feature space.

Improved precision and recall: Kynkaanniemi et al. 2019, arXiv 1904.06991; density and coverage: Naeem et al. 2020,
arXiv 2002.09797. With r_k(x) the distance of a feature to the k-th nearest other one of its own set, real features X (N
of them) and generated ones Y (M):

    precision   share of y that lie within r_k(x) of some x
    recall      share of x that lie within r_k(y) of some y
    density     1 / (k M) times the number of pairs with |x - y| < r_k(x); not bounded by 1
    coverage    share of x whose nearest y lies within r_k(x)

All are higher for better sets. Recall and coverage see lost modes, precision and density see what is not like the
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch

from metrics.base.kinds import make_card, pick_device
from metrics.errors import MetricError
from metrics.networks.encoder import Encoder
from metrics.networks.hf_folder import weight_files
from metrics.networks.image_encoders import OPTION_HELP, load_choice
from metrics.set.kinds import EncoderSetMetric, KernelMetric
from metrics.set.moments import Array, Features
from metrics.types import Card, Facts, Request, one_of

VALUES = ("coverage", "recall", "precision", "density")
_BLOCK = 1024


def _squared(a: Array, b: Array) -> Array:
    """Squared Euclidean distances [N, M], at least 0."""
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(found, 0.0))


def radii(rows: Array, k: int) -> Array:
    """Squared distance of each row [N, D] to its k-th nearest other one, [N]; MetricError for fewer than k + 1 rows."""
    if len(rows) <= k:
        raise MetricError(f"the {k} nearest neighbours need at least {k + 1} images, got {len(rows)}")
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = _squared(rows[start : start + _BLOCK], rows)
        block[
            np.arange(len(block)), np.arange(start, start + len(block))
        ] = -1.0  # itself comes first, however it rounds
        found[start : start + _BLOCK] = np.partition(block, k, axis=1)[:, k]
    return found


def prdc(real: Array, fake: Array, k: int = 5) -> dict[str, float]:
    """All four values of features [N, D] and [M, D]; NaN where a set has no k-th neighbour.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(50, 4))
    >>> prdc(rows, rows)["coverage"]
    1.0
    """
    if min(len(real), len(fake)) <= k:
        return dict.fromkeys(VALUES, float("nan"))
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    of_real, of_fake = radii(real, k), radii(fake, k)
    within, covered, recalled = np.zeros(len(fake)), 0, 0
    for start in range(0, len(real), _BLOCK):
        block = _squared(real[start : start + _BLOCK], fake)
        inside = block < of_real[start : start + _BLOCK, None]
        within += inside.sum(axis=0)
        covered += int(inside.any(axis=1).sum())
        recalled += int((block < of_fake[None]).any(axis=1).sum())
    return {
        "coverage": covered / len(real),
        "recall": recalled / len(real),
        "precision": float((within > 0).mean()),
        "density": float(within.mean()) / k,
    }


class PRDC(EncoderSetMetric[Features], KernelMetric):
    """One of the four values (option `value`), with k nearest neighbours; higher is better."""

    option_help: ClassVar[Mapping[str, str]] = {
        "value": one_of(VALUES),
        "k": "the number of nearest neighbours, 5 in the papers' code",
        "encoder": OPTION_HELP,
    }

    def __init__(self, card: Card, device: torch.device, encoder: Encoder, width: int) -> None:
        super().__init__(card, device, encoder, width)
        self.k = int(card.settings["k"])
        self.value = str(card.settings["value"])
        self.undefined_reason = f"needs at least {self.k + 1} images on each side"

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of the encoder that the option names."""
        value, k = request.options.get("value"), request.options.get("k")
        if value not in VALUES:
            raise MetricError(f"{facts.name}: value {value!r} is not one of {', '.join(VALUES)}")
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise MetricError(f"{facts.name}: k = {k!r} must be a whole number of at least 1")
        device = pick_device(request.device)
        high = None if value == "density" else 1.0
        facts = replace(facts, title=f"{str(value).capitalize()}, k = {k}", unit=unit_of(str(value)), high=high)
        facts, encoder, width, folder = load_choice(request.options.get("encoder"), facts, request, device)
        settings: dict[str, Any] = {**encoder.settings, "value": value, "k": k, "statistics": "float64"}
        return cls(make_card(facts, request, weight_files(folder, facts.title), settings), device, encoder, width)

    def discrepancy(self, a: Array, b: Array) -> float:
        """The value of generated features [M, D] (a) against the reference [N, D] (b)."""
        return prdc(b, a, self.k)[self.value]

    def _few(self, n: int, what: str) -> list[str]:
        if n >= 1000:
            return []
        return [
            f"{self.card.facts.title} with {n:,} {what} depends on their number: radii shrink as images are added, so "
            "compare only runs of equally many images against the same reference"
        ]


def unit_of(value: str) -> str:
    """What one value counts."""
    return {
        "coverage": "share of reference images",
        "recall": "share of reference images",
        "precision": "share of generated images",
        "density": "neighbourhoods per generated image",
    }[value]
