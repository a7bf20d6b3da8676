"""Whether an installed adapter is the one that was read: each layer's factors and scale, and no other layer's.

It guards against the code that installs, this one and PEFT's: what does not agree is an error, never a warning.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bench.models.adapters.factors import Change, Factors, difference, new_weight
from bench.models.adapters.install import adapter_layers, layer_of
from bench.models.adapters.patches import patches_of
from bench.models.loading import first_few

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Of a weight computed in this dtype, relative to its largest value."""


class AdapterError(RuntimeError):
    """What was installed is not what was read: a fault of the code, never of the file."""


def verify(network: Any, adapter: str, change: Change) -> None:
    """AdapterError unless the network's adapter has these layers with these values, and nothing else."""
    layers, weights = change.layers, change.weights
    strength = change.strength
    wrong = [path for path, factors in layers.items() if not _is_right(network, path, adapter, factors, strength)]
    installed = sum(adapter in layer._get_available_adapters() for layer in adapter_layers(network))
    held = patches_of(network)
    parameters = held.values(adapter) if held is not None else {}
    wrong += [
        name
        for name, value in weights.items()
        if name not in parameters or not torch.equal(parameters[name], value.to(parameters[name]))
    ]
    if wrong or installed != len(layers) or parameters.keys() != weights.keys():
        what = first_few(wrong) if wrong else f"{installed} layers instead of {len(layers)}"
        raise AdapterError(f"the adapter was not installed as it was read: {what}")


def _is_right(network: Any, path: str, adapter: str, factors: Factors, strength: float) -> bool:
    layer = layer_of(network, path, factors.kind)
    if layer is None or adapter not in layer._get_available_adapters():
        return False
    if factors.kind != "oft" and not math.isclose(layer.scaling[adapter], factors.scale * strength, rel_tol=1e-9):
        return False
    weight = layer.get_base_layer().weight.detach()
    if factors.kind == "lora":
        return _lora_is_right(layer, adapter, factors)
    made = layer.get_delta_weight(adapter).detach().float().cpu()
    if factors.kind == "oft":  # the rotation itself: of the unit matrix
        one = torch.eye(weight.shape[1])
        return _close(made, new_weight(one, factors).T, weight.dtype)
    return _close(made, strength * difference(weight, factors).cpu(), weight.dtype)


def _lora_is_right(layer: Any, adapter: str, factors: Factors) -> bool:
    values = {"A": layer.lora_A[adapter].weight, "B": layer.lora_B[adapter].weight}
    if layer.lora_B[adapter].bias is not None:
        values["B_bias"] = layer.lora_B[adapter].bias
    if adapter in layer.lora_magnitude_vector:
        values["magnitude"] = layer.lora_magnitude_vector[adapter].weight.flatten()
    return values.keys() == factors.tensors.keys() and all(
        torch.equal(value, factors.tensors[name].to(value)) for name, value in values.items()
    )


def _close(made: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    limit = _TOLERANCE.get(dtype, 1e-4) * float(expected.abs().max())
    return bool(((made - expected).abs() <= limit).all())
