"""Weights between checkpoints: theta = (1 - sum of r) base + sum of r_k theta_k, over whole networks.

One checkpoint and r in (0, 1) is interpolation between the base model and the tuned one; several are a soup (Wortsman
et al. 2022, arXiv 2203.05482; of networks tuned on different rewards: Rame et al. 2023, arXiv 2306.04488). What a LoRA
changes is merged first, so that checkpoints of any form can be averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.adapters.base_weights import base_places, unchanged
from bench.models.adapters.keys import NETWORK
from bench.models.adapters.merge import effective
from bench.models.base import Network
from bench.models.loading import quiet

Part = tuple[str, Network, float]
"""(name for messages, network, its share r)."""


def averaged(base: Any, parts: Sequence[Part]) -> Network:
    """A network of its own with the average weights, in the base network's dtype, summed in float32.

    Raises UsageError for a checkpoint that brings text encoders or an autoencoder of its own, or has other parameters
    than the base network: those are not averaged.
    """
    own = {name: place.value for name, place in base_places(base).items()}
    rest = 1.0 - sum(share for *_, share in parts)
    sums = {name: _share(value, rest) for name, value in own.items() if value.is_floating_point()}
    with torch.no_grad(), unchanged({NETWORK: base}):
        for name, network, share in parts:
            _check(name, network)
            values = effective(base, network)
            if sums.keys() - values.keys():
                raise UsageError(f"{name} has other parameters than the base network, so that they cannot be averaged")
            for key in sums:
                sums[key] += _share(values[key], share)
    made = {name: sums[name].to(value.dtype) if name in sums else value.clone() for name, value in own.items()}
    return Network(_module_of(base, made))


def _share(value: Tensor, share: float) -> Tensor:
    """A share of 1 keeps the value's bits; one of 0 is nothing, whatever the value."""
    return torch.zeros_like(value, dtype=torch.float32) if share == 0.0 else value.detach().float() * share


def _check(name: str, network: Network) -> None:
    brought = [
        what
        for what, there in (
            ("text encoders", network.text is not None or network.text_adapter is not None),
            ("an autoencoder", network.vae is not None),
        )
        if there
    ]
    if brought:
        raise UsageError(
            f"{name} brings {' and '.join(brought)} of its own, and only the denoising network is averaged: use "
            "text_encoder = 'ignore', or a checkpoint of the network alone"
        )


def _module_of(base: Any, values: dict[str, Tensor]) -> Any:
    from accelerate import init_empty_weights

    with quiet(), init_empty_weights(include_buffers=False):
        module = type(base).from_config(base.config)
    module.load_state_dict(values, assign=True)
    with quiet():  # diffusers warns of any cast
        module.to(next(iter(values.values())).dtype)
    return module.eval().requires_grad_(False)
