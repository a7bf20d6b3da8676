"""Which network acts now: LoRA adapters switched on one module, whole networks kept on the device or moved to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from bench.models.adapters.install import lay_out
from bench.models.adapters.patches import Patches, patches_of
from bench.models.base import Network

logger = logging.getLogger(__name__)

HEADROOM = 1.25
"""A network stays on the device beside the others if this many times its size is free: the rest is for activations."""


class AdapterSwitch:
    """Turns the LoRA adapters of one module on and off.

    With none on, each layer runs its base layer alone, so the base network's results do not change in a single bit.
    Whole parameters that an adapter replaces are exchanged with it; a fused one has nothing but those.
    The layers are looked up once: walking through all modules of a large network at every step takes milliseconds.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._layers: list[Any] = []
        self._patches: Patches | None = None
        self._known: set[str | None] = {None}
        self._in_layers: set[str] = set()
        self._active: str | None = None

    def to(self, adapter: str | None) -> None:
        """Exactly this adapter on (None: no adapter); which parameters take a gradient stays as it was."""
        if adapter not in self._known:
            self._look()
        elif adapter == self._active:
            return
        weights = [value for layer in self._layers for value in _adapter_parameters(layer)]
        before = [value.requires_grad for value in weights]
        for layer in self._layers:
            layer.enable_adapters(adapter in self._in_layers)
            if adapter in self._in_layers:
                layer.set_adapter(adapter)
        if self._patches is not None:
            self._patches.switch(adapter)
        for value, flag in zip(weights, before, strict=True):
            value.requires_grad_(flag)
        self._active = adapter

    def forget(self) -> None:
        """Look again before the next switch: adapters were added, and loading switches them on."""
        self._known = set()

    def _look(self) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [layer for layer in self._module.modules() if isinstance(layer, BaseTunerLayer)]
        self._patches = patches_of(self._module)
        self._in_layers = set(getattr(self._module, "peft_config", {}))
        self._known = {None, *self._in_layers, *(self._patches.adapters if self._patches is not None else ())}


def _adapter_parameters(layer: Any) -> Iterator[nn.Parameter]:
    for name in layer.adapter_layer_names:
        part = getattr(layer, name)
        yield from part.parameters()


class Residence:
    """Keeps whole networks on the device as long as there is room, and moves them at the switch otherwise.

    `room` is the number of free bytes on the device, None where that is not a question (CPU). It is asked whenever a
    network has to come in.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._here: list[nn.Module] = []  # the one used last at the end
        self._said = False

    def room(self) -> int | None:
        """Free bytes on the device, those included that torch holds without using them."""
        if self._device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(self._device)
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(free + unused)

    def bring(self, module: nn.Module) -> None:
        """Have the module on the device, moving out others, least recently used first, if there is no room for it."""
        if module in self._here:
            if self._here[-1] is not module:
                self._here.remove(module)
                self._here.append(module)
            return
        while self._here and not self._fits(module):
            self._leave(self._here.pop(0))
        module.to(self._device)
        self._here.append(module)

    def make_room(self) -> bool:
        """Move out all networks but the one used last; whether there was any."""
        others = self._here[:-1]
        for module in others:
            self._leave(module)
        self._here = self._here[-1:]
        return bool(others)

    def _fits(self, module: nn.Module) -> bool:
        room = self.room()
        return room is None or size_of(module) * HEADROOM <= room

    def _leave(self, module: nn.Module) -> None:
        module.to("cpu")
        if not self._said:
            logger.warning(
                "two networks do not fit on the device together; moving them at each switch, which is slower"
            )
            self._said = True


def size_of(module: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Networks:
    """All networks of a model by name, and the way to have one of them ready to run."""

    def __init__(self, base: nn.Module, device: torch.device, networks: Mapping[str, Network]) -> None:
        self._base = base
        self._networks = networks
        self._switch = AdapterSwitch(base)
        self.residence = Residence(device)

    def loaded(self, network: Network) -> None:
        """Say that a network was added."""
        if network.module is self._base:
            self._switch.forget()
            lay_out(self._base)

    def ready(self, name: str) -> Any:
        """The module of the network, on the device, with exactly its adapter on."""
        network = self._networks[name]
        self.residence.bring(network.module)
        if network.module is self._base:
            self._switch.to(network.adapter)
        return network.module
