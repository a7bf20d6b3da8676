"""Share of generated images that lie near an image of the training data (Somepalli et al. 2022, arXiv 2212.03860).

An image counts where the largest cosine of its embedding with those of the reference images reaches `threshold`. The
reference images must be those the model was trained on (or a sample of them: then the share is a lower bound). Which
cosine means a copy depends on the encoder and is not calibrated: beside the value stands how many of the reference
images lie as near to another of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from metrics.base.kinds import make_card, pick_device
from metrics.errors import MetricError
from metrics.networks.hf_folder import weight_files
from metrics.networks.image_encoders import OPTION_HELP, load_choice
from metrics.set.kinds import Counted, EncoderSetMetric, KernelMetric
from metrics.set.moments import Array, Features
from metrics.types import Facts, Request

_BLOCK = 1024


def nearest(rows: Array, others: Array | None = None) -> Array:
    """The largest cosine of each row [n, D] with a row of `others` [M, D]; None: with another row of its own set.

    >>> import numpy as np
    >>> nearest(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    own = others is None
    a = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    b = a if others is None else others / np.linalg.norm(others, axis=1, keepdims=True)
    found = np.empty(len(a))
    for start in range(0, len(a), _BLOCK):
        cosines = a[start : start + _BLOCK] @ b.T
        if own:
            here = np.arange(len(cosines))
            cosines[here, start + here] = -np.inf
        found[start : start + _BLOCK] = cosines.max(axis=1)
    return found


class NearDuplicates(EncoderSetMetric[Features], KernelMetric):
    """The share of generated images near a reference image, in 0..1; lower is less copying."""

    depends_on_count: ClassVar[bool] = False
    _own: tuple[str, float] | None = None  # of the reference with this digest
    option_help: ClassVar[Mapping[str, str]] = {
        "encoder": OPTION_HELP,
        "threshold": "the cosine, in -1..1, from which an image counts as near",
    }

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of the encoder that the option names."""
        device = pick_device(request.device)
        threshold = request.options.get("threshold")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not -1 <= threshold <= 1:
            raise MetricError(f"{facts.name}: threshold = {threshold!r} is not a cosine: give a number in -1..1")
        facts, encoder, width, folder = load_choice(request.options.get("encoder"), facts, request, device)
        settings: dict[str, Any] = {
            **encoder.settings,
            "similarity": "cosine",
            "threshold": float(threshold),
            "statistics": "float64",
        }
        return cls(make_card(facts, request, weight_files(folder, facts.title), settings), device, encoder, width)

    @property
    def threshold(self) -> float:
        """The cosine from which an image counts."""
        return float(self.card.settings["threshold"])

    def discrepancy(self, a: Array, b: Array) -> float:
        """The share of rows of a [n, D] with a row of b [M, D] at least as near as the threshold; NaN without rows."""
        if min(len(a), len(b)) < 1:
            return math.nan
        return float(np.mean(nearest(a, b) >= self.threshold))

    def _own_share(self, reference: Features) -> float:
        """The share of reference images near another of their own: computed once for all runs against them."""
        digest = reference.digest
        if self._own is None or self._own[0] != digest:
            self._own = digest, float(np.mean(nearest(reference.rows) >= self.threshold))
        return self._own[1]

    def notes(self, n: int | None = None, reference: Counted | None = None) -> list[str]:
        """What the threshold means, and what share of the reference images lies as near to another of their own."""
        found = super().notes(n, reference)
        where = "a cosine that is not calibrated to what people call a copy: look at the pairs"
        found.append(f"{self.card.facts.title} from {self.threshold:g} on, {where}")
        if isinstance(reference, Features) and reference.n > 1:
            own = self._own_share(reference)
            found.append(f"{own:.1%} of the reference images lie as near to another of their own")
        return found
