"""The Frechet distance of two Gaussians: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)."""

from __future__ import annotations

import numpy as np

from metrics.set.moments import Array, Moments


def _factor(covariance: Array) -> Array:
    """L with L L^T = covariance, from eigh, without the directions that are rounding: [D, rank]."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    top = values[-1] if len(values) else 0.0
    kept = values > max(top, 0.0) * len(values) * np.finfo(np.float64).eps
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def trace_root(first: Array, second: Array) -> float:
    """tr (S1 S2)^(1/2) of covariances [D, D] = the sum of the singular values of L1^T L2.

    Exact also for singular covariances (fewer images than features), where matrix square roots fail.
    """
    product = _factor(first).T @ _factor(second)
    if 0 in product.shape:
        return 0.0
    return float(np.linalg.svd(product, compute_uv=False).sum())


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Frechet distance of two sets (what FID reports); NaN if one has fewer than two images."""
    if not (a.has_covariance and b.has_covariance):
        return float("nan")
    first, second = a.covariance, b.covariance
    difference = a.mean - b.mean
    value = float(difference @ difference + np.trace(first) + np.trace(second) - 2.0 * trace_root(first, second))
    return max(value, 0.0)
