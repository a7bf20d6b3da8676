"""Networks and decoders behind torch.compile: few compilations, and none for what is left over at the end of a run.

A transformer's repeated blocks are compiled each for itself (their code is one, so that it is compiled once); a UNet,
whose blocks all differ in size, and a decoder are compiled whole. Shapes are static: a batch that is smaller than the
largest so far is filled up with copies of its last row, and cut again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.base import Conditioning

BACKEND: Any = "inductor"
"""torch.compile's backend."""
_VARIANTS = 4
"""Compilations of one code that a network may need: with and without guidance, with and without an adapter."""


def compile_networks(networks: Iterable[nn.Module], decoders: Iterable[nn.Module]) -> None:
    """Compile what is not compiled yet; each is compiled when it is first called."""
    import torch._dynamo.config

    modules = list({id(one): one for one in networks}.values())
    config: Any = torch._dynamo.config
    # Beyond the limit torch runs the code uncompiled, with a note in its log: other kernels within one run.
    config.recompile_limit = max(int(config.recompile_limit), _VARIANTS * len(modules))
    for module in modules:
        for part in repeated_blocks(module) or [module]:
            part.compile(backend=BACKEND, dynamic=False)
    for decoder in {id(one): one for one in decoders}.values():
        decoder.compile(backend=BACKEND, dynamic=False)


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks that a transformer repeats; none for a UNet."""
    lists = [part for name, part in module.named_children() if name.endswith("transformer_blocks")]
    return [block for part in lists if isinstance(part, nn.ModuleList) for block in part]


def filled(tensor: Tensor, rows: int) -> Tensor:
    """The tensor with copies of its last row up to so many."""
    if len(tensor) >= rows:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(rows - len(tensor), *tensor.shape[1:])])


def filled_conditioning(cond: Conditioning, rows: int) -> Conditioning:
    """The conditioning with copies of its last row up to so many."""

    def states_of(one: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: filled(state, rows) for name, state in one.items()}

    own = {name: filled_conditioning(one, rows) for name, one in cond.own.items()}
    return Conditioning(states_of(cond.states), cond.empty, own)
