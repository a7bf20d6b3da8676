"""A Frechet distance and those with one block of images left out each, with the reference's factor taken once.

With S2 = L L^T, tr (S1 S2)^(1/2) is the sum of the square roots of the eigenvalues of L^T S1 L. It is linear in S1: the
product is made once of the whole, and what a block adds to it is taken away. The eigenvalues of a symmetric matrix cost
a seventh of the singular values of L1^T L, which `metrics.set.frechet` takes (2,048 features, one core). Small ones are
less exact in this way, so each value comes with a bound of its error. A value whose bound is not small enough, against
itself and against the spread of the left-out values, is made by singular values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics.set.moments import Array, Moments

TOLERANCE, OF_SPREAD = 1e-5, 1e-2
"""What the error of a value may be: as a share of the value, and of the left-out values' standard deviation."""
_LOW_RANK = 3
"""A block's scatter is factored where its rank is at most D over this: that costs less than two products."""
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference's moments with its factor L [D, rank], L L^T = covariance, float64 on a device."""

    moments: Moments
    factor: Tensor

    @classmethod
    def of(cls, moments: Moments, device: torch.device) -> Reference:
        """Factor the covariance on the device, or on the CPU where that has no float64."""
        return cls(moments, _factor(_placed(moments.covariance, device)))


def leave_one_out(blocks: Sequence[Moments], reference: Reference) -> tuple[float, list[float]]:
    """The squared Frechet distance of all blocks together, and with each left out in turn; none for fewer than three.

    NaN where fewer than two images are left.
    """
    whole = _sum(blocks)
    if not whole.has_covariance:
        return math.nan, [math.nan] * len(blocks) if len(blocks) >= 3 else []
    product = _projected(whole.scatter, reference.factor)
    value, bound = _distance(whole.mean, np.diagonal(whole.scatter), product, whole.n, reference.moments)
    if not bound <= TOLERANCE * value:
        value = _exact(whole, reference)
    if len(blocks) < 3:
        return value, []
    quick = [_without(block, whole, product, reference) for block in blocks]
    known = [one for one, _ in quick if not math.isnan(one)]
    largest = OF_SPREAD * float(np.std(known)) if known else 0.0
    return value, [
        one if math.isnan(one) or error <= largest else _exact(_sum([*blocks[:index], *blocks[index + 1 :]]), reference)
        for index, (one, error) in enumerate(quick)
    ]


def _without(block: Moments, whole: Moments, product: Tensor, reference: Reference) -> tuple[float, float]:
    """The distance without a block, and the bound of its error; `product` is L^T M2 L of the whole."""
    rest = whole.n - block.n
    if rest < 2:
        return math.nan, 0.0
    # Chan's merging, backwards: the whole's scatter is that of both parts and of the way between their means.
    mean = whole.mean - (block.mean - whole.mean) * (block.n / rest)
    step, share = block.mean - mean, block.n * rest / whole.n
    factor = reference.factor
    along = factor.T @ _placed(step, factor.device)
    left = product - _block(block, factor) - share * torch.outer(along, along)
    diagonal = np.diagonal(whole.scatter) - np.diagonal(block.scatter) - share * step**2
    return _distance(mean, diagonal, left, rest, reference.moments)


def _distance(mean: Array, diagonal: Array, product: Tensor, n: int, against: Moments) -> tuple[float, float]:
    """The distance of n images of this mean, scatter's diagonal and L^T M2 L, and a bound of its error."""
    root, bound = _root(product / (n - 1), n)
    return _value(mean, float(diagonal.sum()) / (n - 1), root, against), 2.0 * bound


def _root(product: Tensor, n: int) -> tuple[float, float]:
    """The sum of the square roots of the eigenvalues, and a bound of its error.

    The covariance of n images has rank n - 1 at most, so there are no more. An eigenvalue is off by about
    sqrt(D) x epsilon x the largest (Weyl), its root by that over the root, or by the root of that where it is smaller.
    """
    if len(product) == 0:
        return 0.0, 0.0
    values = torch.linalg.eigvalsh((product + product.T) / 2)[1 - n :].clamp(min=0.0)
    error = float(values[-1]) * _EPSILON * math.sqrt(len(product))
    roots = values.sqrt()
    return float(roots.sum()), float((error / roots.clamp(min=math.sqrt(error) or 1.0)).sum())


def _exact(part: Moments, reference: Reference) -> float:
    """The distance by singular values."""
    product = _factor(_placed(part.covariance, reference.factor.device)).T @ reference.factor
    # CUDA's default way (Jacobi) has a tolerance of its own.
    how = {"driver": "gesvd"} if product.is_cuda else {}
    root = float(torch.linalg.svdvals(product, **how).sum()) if 0 not in product.shape else 0.0
    return _value(part.mean, float(np.trace(part.covariance)), root, reference.moments)


def _value(mean: Array, trace: float, root: float, against: Moments) -> float:
    difference = mean - against.mean
    return max(float(difference @ difference) + trace + float(np.trace(against.covariance)) - 2.0 * root, 0.0)


def _factor(covariance: Tensor) -> Tensor:
    """L with L L^T = covariance [D, D], from eigh, without the directions that are rounding: [D, rank]."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > values[-1].clamp(min=0.0) * len(values) * _EPSILON
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


def _block(block: Moments, factor: Tensor) -> Tensor:
    """L^T M2 L of a block, by a low-rank factor of its scatter M2 where there is one."""
    if factor.device.type == "cpu" and block.n * _LOW_RANK <= block.width:
        from scipy.linalg.lapack import dpstrf

        # Cholesky with pivoting stops at the rank, about n - 1: P^T M2 P = U^T U.
        upper, pivots, rank, _ = dpstrf(block.scatter)
        rows = torch.from_numpy(np.ascontiguousarray(np.triu(upper[:rank])))
        thin = rows @ factor[torch.from_numpy(pivots.astype(np.int64) - 1)]
        return thin.T @ thin
    return _projected(block.scatter, factor)


def _projected(scatter: Array, factor: Tensor) -> Tensor:
    return factor.T @ (_placed(scatter, factor.device) @ factor)


def _placed(array: Array, device: torch.device) -> Tensor:
    """float64 on the device; on the CPU for devices without float64 (Apple's)."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if device.type == "mps" else tensor.to(device)


def _sum(parts: Sequence[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
