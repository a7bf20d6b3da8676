"""Weights of 8 bits: each output channel of a linear or convolution layer has whole numbers and one scale.

Weights alone are quantised, symmetrically, to the nearest (absmax); they are multiplied out when a layer runs, so that
activations keep their precision and no kernel of a particular machine is needed. A quarter of float32's memory for
those weights, and some time for the multiplication.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Int8Weight(nn.Module):
    """A parametrisation of `weight`: int8 values [out, ...] and scales [out, 1, ...] in the layer's dtype."""

    values: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        dims = tuple(range(1, weight.ndim))
        scale = weight.detach().float().abs().amax(dims, keepdim=True) / 127
        # A channel of zeros has no scale of its own: any will do.
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)
        values = (weight.detach().float() / scale).round().clamp(-127, 127).to(torch.int8)
        self.register_buffer("values", values)
        self.register_buffer("scale", scale.to(weight.dtype))

    def forward(self) -> Tensor:
        """The weight, of its own shape and dtype."""
        return self.values.to(self.scale.dtype) * self.scale


def quantised(module: Any) -> Any:
    """A copy of a network (without adapters) whose linear and convolution layers have weights of 8 bits."""
    made = copy.deepcopy(module)
    for layer in made.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            held = Int8Weight(layer.weight)
            del layer.weight  # the float one: what runs is computed from the whole numbers each time
            layer.int8 = held
            layer.__class__ = _with_int8(type(layer))
    return made


def _with_int8(kind: type[Any]) -> type[Any]:
    """The layer's class, with a weight that is computed when it is asked for."""
    return type(f"Int8{kind.__name__}", (kind,), {"weight": property(lambda layer: layer.int8())})
