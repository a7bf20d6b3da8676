"""How CUDA multiplies float32: exactly, or by TensorFloat-32, which rounds the factors to 10 bits of mantissa."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

from metrics.types import Card

P = ParamSpec("P")
M = TypeVar("M")
T = TypeVar("T")


@contextlib.contextmanager
def products_of(card: Card) -> Iterator[None]:
    """Products and convolutions of float32 as a metric's card says: `tf32` among its settings, or exact.

    torch's own default is exact products and TF32 convolutions, so that a value would depend on the layer's kind. Only
    CUDA devices know TF32; elsewhere nothing changes.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = bool(card.settings.get("tf32", False))
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def by_its_card(method: Callable[Concatenate[M, P], T]) -> Callable[Concatenate[M, P], T]:
    """The method of a metric, computing as the metric's card says."""

    @functools.wraps(method)
    def computing(metric: M, *args: P.args, **more: P.kwargs) -> T:
        card: Any = getattr(metric, "card")  # noqa: B009
        with products_of(card):
            return method(metric, *args, **more)

    return computing
