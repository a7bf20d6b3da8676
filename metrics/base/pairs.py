"""Distances between embeddings, and their mean over pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def cosine_distances(embeddings: Tensor) -> Tensor:
    """1 - cosine of rows [K, D] in float64 -> float32 [K, K], as |a - b|^2 / 2; below 1e-12 (rounding) exactly 0."""
    rows = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    distances[distances < 1e-12] = 0.0
    return distances.to(torch.float32)


def mean_of_pairs(distances: Tensor) -> float:
    """Mean of the entries above the diagonal of [K, K], in float64; NaN for K < 2."""
    count = distances.shape[0]
    if count < 2:
        return float("nan")
    rows, columns = torch.triu_indices(count, count, offset=1)
    return float(distances.double()[rows, columns].mean())
