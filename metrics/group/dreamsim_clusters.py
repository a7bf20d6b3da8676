"""How many groups of like images a prompt's images fall into, on DreamSim's graph.

Two images are joined where their DreamSim distance is below `threshold`. The number of groups is the number of zero
eigenvalues of the graph's Laplacian, which is that of its connected components (von Luxburg 2007, A Tutorial on
Spectral Clustering, proposition 2). DiverseGRPO (arXiv 2512.21514) rewards images by spectral clusters of such a graph;
its scale and its choice of the number are not used here, as both need more images than a prompt has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from metrics.base.pairs import cosine_distances
from metrics.errors import MetricError
from metrics.group.dreamsim import DreamSim
from metrics.types import Facts, Request, digest_of

_ZERO = 1e-8


def groups(distances: Tensor, threshold: float) -> int:
    """The number of connected components where distances [K, K] below the threshold join.

    >>> import torch
    >>> groups(torch.tensor([[0.0, 0.1, 0.9], [0.1, 0.0, 0.9], [0.9, 0.9, 0.0]]), 0.3)
    2
    """
    joined = (distances.double() < threshold).double()
    joined.fill_diagonal_(0.0)
    laplacian = torch.diag(joined.sum(dim=1)) - joined
    return int((torch.linalg.eigvalsh(laplacian) < _ZERO).sum())


class DreamSimClusters(DreamSim):
    """Number of groups of like images, in 1..K; higher is more diverse."""

    option_help: ClassVar[Mapping[str, str]] = {
        **DreamSim.option_help,
        "threshold": "the DreamSim distance, above 0, below which two images are alike",
    }

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """As DreamSim, with the threshold in the card."""
        threshold = request.options.get("threshold")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 2:
            raise MetricError(
                f"{facts.name}: threshold = {threshold!r} is not a distance: give a number above 0, up to 2"
            )
        made = super().load(facts, request)
        made.card = replace(made.card, settings={**made.card.settings, "threshold": float(threshold)})
        return made

    @property
    def backbone(self) -> str:
        """That of DreamSim: the threshold does not touch the embeddings."""
        settings: dict[str, Any] = {key: value for key, value in self.card.settings.items() if key != "threshold"}
        code = [f"{DreamSim.__module__}.{DreamSim.__qualname__}"] * len(self.made_by)
        return digest_of(code=code, weights=dict(self.card.weights), settings=settings)

    def score_embeddings(self, rows: Tensor, prompt: str | None = None) -> float:
        """The number of groups of rows [K, D]; NaN for fewer than two rows."""
        if len(rows) < 2:
            return math.nan
        return float(groups(cosine_distances(rows), float(self.card.settings["threshold"])))

    def notes(self, n: int | None = None) -> list[str]:
        """What the number rests on."""
        threshold = self.card.settings["threshold"]
        return [
            *super().notes(n),
            f"images are alike below a DreamSim distance of {threshold:g}, which is chosen and not calibrated; the "
            "number is at most that of the images, and grows with it: compare equal numbers",
        ]
