"""KID (Binkowski et al. 2018, arXiv 1801.01401): squared MMD of Inception features, kernel (x.y / D + 1)^3.

The unbiased estimate over all images at once: deterministic, where the usual mean over random subsets is not. It can
be slightly negative.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrics.images import Images
from metrics.inception import InceptionMetric
from metrics.moments import Array, Features

_BLOCK = 2048


def _kernel_sum(a: Array, b: Array) -> float:
    """Sum of the kernel over all pairs of rows [N, D] and [M, D], in blocks."""
    total = 0.0
    for start in range(0, len(a), _BLOCK):
        total += float(((a[start : start + _BLOCK] @ b.T / a.shape[1] + 1.0) ** 3).sum())
    return total


def _within(rows: Array) -> float:
    """Mean kernel over ordered pairs of different rows."""
    own = float((((rows * rows).sum(axis=1) / rows.shape[1] + 1.0) ** 3).sum())
    count = len(rows)
    return (_kernel_sum(rows, rows) - own) / (count * (count - 1))


def squared_mmd(a: Array, b: Array) -> float:
    """The unbiased squared MMD of features [N, D] and [M, D] (equation 4 of the paper); NaN for fewer than 2 rows."""
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return _within(a) + _within(b) - 2.0 * _kernel_sum(a, b) / (len(a) * len(b))


class KID(InceptionMetric[Features]):
    """Squared MMD of two sets of images; near 0 for equal distributions, lower is nearer. Unbiased for few images."""

    def statistics(self, images: Images) -> Features:
        """The features, float64 [N, D]; shards are added (`a + b`)."""
        return Features(self.inception(self, images).astype(np.float64), self.backbone)

    def read_statistics(self, path: Path | str) -> Features:
        """Statistics from an .npz file; BadInputError if the file is something else."""
        return Features.read(path)

    def distance(self, a: Features, b: Features) -> float:
        """KID; NaN if one side has fewer than two images. BadInputError if the networks differ."""
        if a.backbone != b.backbone:
            a + b  # raises
        return squared_mmd(a.rows, b.rows)
