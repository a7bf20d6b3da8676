"""Whole parameters that an adapter replaces (PEFT's modules_to_save, biases, norms): held beside the network's own.

The network's parameter object is exchanged at the switch and put back at the next, so that the base network is the same
to the bit, and a step costs nothing more. Both are registered with the network, so that they move with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

HOLDER = "adapter_patches"
"""Name of the submodule of a network that holds its patches."""


class Patches(nn.Module):
    """The parameters that the adapters of one network replace, and the network's own in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.base: Any = nn.ParameterDict()
        self.adapters: Any = nn.ModuleDict()
        self._places: dict[str, tuple[nn.Module, str]] = {}
        self._keys: dict[tuple[int, str], str] = {}
        self._active: str | None = None

    def original(self, owner: nn.Module, name: str) -> Tensor | None:
        """The network's own value of `owner.name`; None if no adapter replaces it."""
        key = self._keys.get((id(owner), name))
        found: Tensor | None = None if key is None else self.base[key]
        return found

    def add(self, adapter: str, indices: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
        """Hold the values of parameters by their names; `places` says where in the network they live."""
        self.switch(None)
        own: Any = nn.ParameterDict()
        for name, value in values.items():
            key, index = name.replace(".", "/"), indices[name]
            if key not in self.base:
                self.base[key] = index.owner._parameters[index.name]
                self._places[key] = (index.owner, index.name)
                self._keys[id(index.owner), index.name] = key
            base: Tensor = self.base[key]
            layout = torch.channels_last if base.ndim == 4 and _is_channels_last(base) else torch.contiguous_format
            made = value.to(base.device, base.dtype, copy=True).contiguous(memory_format=layout)
            own[key] = nn.Parameter(made, requires_grad=False)
        self.adapters[adapter] = own

    def switch(self, adapter: str | None) -> None:
        """Put exactly this adapter's parameters into the network (None: its own)."""
        if adapter == self._active:
            return
        for key, (owner, name) in self._places.items():
            owner._parameters[name] = self.base[key]
        if adapter is not None and adapter in self.adapters:
            for key, value in self.adapters[adapter].items():
                owner, name = self._places[key]
                owner._parameters[name] = value
        self._active = adapter

    @contextlib.contextmanager
    def put_back(self) -> Iterator[None]:
        """Inside, the network has its own parameters; afterwards those that it had before."""
        active = self._active
        self.switch(None)
        try:
            yield
        finally:
            self.switch(active)

    def values(self, adapter: str) -> dict[str, nn.Parameter]:
        """The parameters that an adapter replaces, by their names in the network."""
        if adapter not in self.adapters:
            return {}
        return {key.replace("/", "."): value for key, value in self.adapters[adapter].items()}

    def remove(self, adapter: str) -> None:
        """Forget an adapter's parameters."""
        self.switch(None)
        if adapter in self.adapters:
            del self.adapters[adapter]


def patches_of(network: nn.Module, make: bool = False) -> Patches | None:
    """A network's patches; with `make` they are made if there are none."""
    found = network._modules.get(HOLDER)
    if found is None and make:
        found = Patches()
        network.add_module(HOLDER, found)
    return found if isinstance(found, Patches) else None


def _is_channels_last(value: Tensor) -> bool:
    return value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
