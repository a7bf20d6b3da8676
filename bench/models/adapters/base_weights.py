"""The base network's own parameters beneath whatever adapters were put into it, and whether one of them changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.adapters.patches import Patches, patches_of

_BLOCK = 2**16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter or buffer lives: `owner.name`, with its value in the base network."""

    owner: nn.Module
    name: str
    value: Tensor
    is_parameter: bool = True


def base_places(network: nn.Module) -> dict[str, Place]:
    """The base network's parameters and buffers by the names that they have without any adapter."""
    held = patches_of(network)
    return dict(_walk(network, "", held))


def _walk(module: nn.Module, prefix: str, held: Patches | None) -> Iterator[tuple[str, Place]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    if isinstance(module, BaseTunerLayer):
        yield from _walk(module.get_base_layer(), prefix, held)
        return
    for name, value in module._parameters.items():
        if value is not None:
            base = held.original(module, name) if held is not None else None
            yield f"{prefix}{name}", Place(module, name, value if base is None else base)
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield f"{prefix}{name}", Place(module, name, buffer, is_parameter=False)
    for name, child in module.named_children():
        if not isinstance(child, Patches):
            yield from _walk(child, f"{prefix}{name}.", held)


def fingerprint(network: nn.Module) -> dict[str, Any]:
    """A checksum of each parameter and buffer of the base network: equal before and after means unchanged.

    Sums of the bits by blocks: as fast as memory is read, and not fooled by rows that change places.
    """
    return {name: _checksum(index.value) for name, index in base_places(network).items()}


def _checksum(value: Tensor) -> tuple[Any, ...]:
    with torch.no_grad():
        flat = value.detach().contiguous().reshape(-1)
        whole = len(flat) - len(flat) % (8 // flat.element_size())
        # Eight bytes at once and no conversion: ten times as fast as number by number.
        words = flat[:whole].clone() if flat.storage_offset() * flat.element_size() % 8 else flat[:whole]
        words = words.view(torch.int64)
        rest = flat[whole:].view(torch.int8).to(torch.int64)
        blocks = words[: len(words) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).sum(dim=1)
        weights = torch.arange(1, len(blocks) + 1, device=blocks.device)
        sums = (blocks * weights).sum(), words[len(blocks) * _BLOCK :].sum(), (rest * rest.new_tensor([257])).sum()
        return tuple(value.shape), value.dtype, *(int(one) for one in sums)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the parameters that are not what they were."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@contextlib.contextmanager
def unchanged(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """RuntimeError if what happens inside changes a base parameter of these networks, whether or not it succeeds.

    All methods of a call share the base network: one that is changed makes every one of its pictures wrong.
    """
    before = {part: fingerprint(network) for part, network in networks.items()}
    try:
        yield
    finally:
        for part, network in networks.items():
            if names := changed(before[part], fingerprint(network)):
                raise RuntimeError(f"loading changed the base {part}: {', '.join(names[:3])}")
