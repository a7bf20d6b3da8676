"""What an adapter makes of its network's weights: for averages of networks, and for a network that runs fused.

A layer is merged by PEFT, in its own dtype, and its weights are put back from a copy: subtracting what was added would
change some of them.
"""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from bench.models.adapters.base_weights import base_places, unchanged
from bench.models.adapters.install import adapter_layers
from bench.models.adapters.keys import NETWORK
from bench.models.adapters.patches import patches_of
from bench.models.base import Network


def effective(base: nn.Module, network: Network) -> dict[str, Tensor]:
    """The network's parameters and buffers as they act, under the names of the base network's."""
    values = {name: place.value for name, place in base_places(network.module).items()}
    return values if network.adapter is None else values | merged(base, network.adapter)


def merged(base: nn.Module, adapter: str) -> dict[str, Tensor]:
    """The parameters of the base network that an adapter changes, with the adapter in them; the network stays."""
    held = patches_of(base)
    values: dict[str, Tensor] = dict(held.values(adapter)) if held is not None else {}
    names = {id(module): name for name, module in base.named_modules()}
    with held.put_back() if held is not None else contextlib.nullcontext():
        for layer in adapter_layers(base):
            if any(adapter in getattr(layer, kind) for kind in layer.adapter_layer_names):
                values |= _merged(layer, adapter, names[id(layer)])
    return values


def fuse(base: nn.Module, adapter: str, fused: str) -> None:
    """Add an adapter once more, under the name `fused`: as whole parameters, which are exchanged with the network's.

    A step of it costs no more operations than one of the base network. The network's own parameters stay beside it.
    """
    with unchanged({NETWORK: base}):
        values = merged(base, adapter)
        held = patches_of(base, make=True)
        assert held is not None
        held.add(fused, base_places(base), values)


def _merged(layer: Any, adapter: str, name: str) -> dict[str, Tensor]:
    """A layer's parameters with its adapter in them; the layer is left as it was, to the bit."""
    inner: nn.Module = layer.get_base_layer()
    before = {key: value.detach().clone() for key, value in inner.named_parameters()}
    layer.merge(adapter_names=[adapter])
    try:
        # The names of a layer inside others, as diffusers wraps some, have the wrappers' own parts in them.
        plain = ".".join(part for part in name.split(".") if part != "base_layer")
        return {f"{plain}.{key}": value.detach().clone() for key, value in inner.named_parameters()}
    finally:
        layer.merged_adapters.clear()
        for key, value in inner.named_parameters():
            value.data.copy_(before[key])
