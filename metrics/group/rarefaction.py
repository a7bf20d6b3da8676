"""Rarefaction: the diversity to expect of k of the K images, so that runs with different K are compared at one k.

Named after the ecologists' way of comparing samples of different size (Hurlbert 1971, Ecology 52). The expectation is
over subsets of k different images: over all of them when they are few, else over random ones drawn with a seed, whose
mean is unbiased.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.base.kinds import mean_of_pairs
from metrics.errors import BadInputError
from metrics.group.vendi_score import effective_number, kernel_matrix

MOST_SUBSETS = 1000

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Subsets as indices [S, k] -> one value each [S]."""


@dataclass(frozen=True, slots=True)
class Rarefied:
    """The expected value over `k` images. `exact`: over all subsets; else over `subsets` random ones.

    `error` is the standard error of that random mean (0 where exact); the images themselves are taken as given.
    """

    k: int
    value: float
    exact: bool
    subsets: int
    error: float = 0.0


def rarefy(count: int, k: int, statistic: Statistic, most: int = MOST_SUBSETS, seed: int = 0) -> Rarefied:
    """The mean of `statistic` over subsets of `k` of `count` images: all of them if at most `most`, else `most` random.

    The same seed, count and k draw the same subsets. BadInputError for k outside 1..count.
    """
    if not 1 <= k <= count:
        raise BadInputError(f"k = {k} images cannot be drawn from {count}: choose k in 1..{count}")
    if most < 2:
        raise BadInputError(f"at least 2 subsets are needed, not {most}")
    total = math.comb(count, k)
    if total <= most:
        values = statistic(np.array(list(itertools.combinations(range(count), k)), dtype=np.int64))
        return Rarefied(k, float(values.mean()), True, total)
    generator = np.random.default_rng([seed, count, k])
    chosen = generator.random((most, count)).argsort(axis=1)[:, :k]
    values = statistic(np.sort(chosen, axis=1))
    return Rarefied(k, float(values.mean()), False, most, float(values.std(ddof=1) / math.sqrt(most)))


def pairwise_curve(distances: Tensor, ks: Sequence[int] | None = None) -> list[Rarefied]:
    """The expected mean pairwise distance at each k (default 2..K) from distances [K, K]; exact.

    Every pair is in equally many subsets of k images, so the expectation is the mean over all pairs whatever k is:
    mean pairwise distances of runs with different K may be compared as they are (not their spread).
    """
    count = distances.shape[0]
    points = []
    for k in range(2, count + 1) if ks is None else ks:
        if not 2 <= k <= count:
            raise BadInputError(
                f"a mean over pairs of k = {k} of {count} images does not exist: choose k in 2..{count}"
            )
        points.append(Rarefied(k, mean_of_pairs(distances), True, math.comb(count, k)))
    return points


def vendi_curve(
    embeddings: Tensor,
    ks: Sequence[int] | None = None,
    *,
    most: int = MOST_SUBSETS,
    seed: int = 0,
    **settings: Any,
) -> list[Rarefied]:
    """The expected Vendi score at each k (default 1..K) from embeddings [K, D]; `settings` are q, kernel, bandwidth.

    The score grows with k, so scores of runs with different K are only comparable at a common k.
    """
    q = settings.pop("q", 1.0)
    kernel = kernel_matrix(embeddings, **settings)

    def statistic(subsets: NDArray[np.int64]) -> NDArray[np.float64]:
        index = torch.from_numpy(subsets)
        parts = kernel[index[:, :, None], index[:, None, :]] / subsets.shape[1]
        return np.asarray(effective_number(torch.linalg.eigvalsh(parts), q).numpy(), dtype=np.float64)

    count = embeddings.shape[0]
    return [rarefy(count, k, statistic, most, seed) for k in (range(1, count + 1) if ks is None else ks)]
