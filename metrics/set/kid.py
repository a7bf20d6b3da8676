"""KID (Binkowski et al. 2018, arXiv 1801.01401): squared MMD of Inception features, kernel (x.y / D + 1)^3.

The unbiased estimate over all images at once: deterministic, where the usual mean over random subsets is not. It can
be slightly negative.
"""

from __future__ import annotations

import numpy as np

from metrics.set.inception import InceptionMetric
from metrics.set.kinds import KernelMetric
from metrics.set.moments import Array, Features

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


class KID(InceptionMetric[Features], KernelMetric):
    """Squared MMD of Inception features; near 0 for equal distributions, lower is nearer. Unbiased for few images."""

    depends_on_count = False

    def discrepancy(self, a: Array, b: Array) -> float:
        """KID of features [N, D] and [M, D]; NaN for fewer than two rows."""
        return squared_mmd(a, b)
