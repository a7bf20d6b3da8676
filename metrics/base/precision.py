"""How CUDA multiplies float32: exactly, or by TensorFloat-32, which rounds the factors to 10 bits of mantissa."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

from metrics.types import Card

F = TypeVar("F", bound=Callable[..., Any])


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


def by_its_card(method: F) -> F:
    """The method of a metric, computing as the metric's card says."""

    @functools.wraps(method)
    def computing(metric: Any, *args: Any, **more: Any) -> Any:
        with products_of(metric.card):
            return method(metric, *args, **more)

    return cast(F, computing)
