"""PickScore's conventions and how one is made from another.

PickScore (Kirstain et al. 2023, arXiv 2305.01569) is published as s = scale * cosine, where the scale is the exp of the
checkpoint's logit_scale (`metric.scale` of a loaded metric); others report the bare cosine, or the probability that
one of two images of the same prompt is preferred: the softmax over their two scores, which is 1 / (1 + exp(b - a)).
All take numbers or arrays and return float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metrics.errors import BadInputError


def _checked_scale(scale: float) -> float:
    if not 0.0 < scale < math.inf:
        raise BadInputError(f"scale {scale} is not the exp of a logit scale: give a number above 0 (metric.scale)")
    return scale


def cosine_of(score: ArrayLike, scale: float) -> Any:
    """The cosine, in -1..1, of a logit-scaled PickScore."""
    return np.asarray(score, dtype=np.float64)[()] / _checked_scale(scale)


def score_of(cosine: ArrayLike, scale: float) -> Any:
    """The logit-scaled PickScore of a cosine."""
    return np.asarray(cosine, dtype=np.float64)[()] * _checked_scale(scale)


def preference(first: ArrayLike, second: ArrayLike) -> Any:
    """The probability, in 0..1, that the first of two images of one prompt is preferred, from logit-scaled scores."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return (0.5 * (1.0 + np.tanh(0.5 * difference)))[()]  # the logistic function, without overflow


def score_difference(probability: ArrayLike) -> Any:
    """The difference of two logit-scaled scores that gives a preference; -inf at 0, inf at 1. BadInputError outside."""
    value = np.asarray(probability, dtype=np.float64)
    if not bool(((value >= 0.0) & (value <= 1.0)).all()):
        raise BadInputError("a probability must be in 0..1")
    with np.errstate(divide="ignore"):
        return (np.log(value) - np.log1p(-value))[()]
