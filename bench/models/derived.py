"""Networks that are made of others: conditioned, averaged, fused, with 8 bits, or without some blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.models.adapters.merge import fuse
from bench.models.base import Network, TextSide
from bench.models.int8 import quantised
from bench.models.networks import Networks
from bench.models.skipping import Skipped, check_skipped
from bench.models.soup import averaged
from bench.models.textual_inversion import conditioned

if TYPE_CHECKING:
    from bench.methods.conditions import PromptConditions


class Derived:
    """The part of a model that adds networks which are made of its others."""

    network: Any
    networks: dict[str, Network]
    device: torch.device
    text: TextSide
    _ready: Networks
    _sides_made: dict[Any, TextSide]

    def add_conditions(self, name: str, of: str, conditions: PromptConditions, embeddings: Mapping[str, Path]) -> None:
        """Add the network `of` under another name, with prompt conditions; `embeddings` are files by token."""
        if name not in self.networks:
            network = self.networks[of]
            text = self._conditioned(network.text or self.text, conditions.clip_skip, embeddings)
            self.networks[name] = dataclasses.replace(
                network,
                text=None if text is self.text else text,
                negative_prompt=conditions.negative_prompt,
                guidance_rescale=conditions.guidance_rescale or 0.0,
            )

    def add_soup(self, name: str, parts: Sequence[tuple[str, float]]) -> None:
        """Add the average of networks that were added, (name, share) each; the rest to 1 is the base network's share.

        Raises UsageError for networks that cannot be averaged.
        """
        if name not in self.networks:
            for one, _ in parts:
                self._ready.ready(one)
            network = averaged(self.network, [(one, self.networks[one], share) for one, share in parts])
            self._shape_memory(network.module)
            self.networks[name] = network
            self._ready.loaded(network)

    def add_fused(self, name: str, of: str) -> None:
        """Add the network `of` with its adapter fused into the weights under another name; without one it is `of`."""
        if name not in self.networks:
            network = self.networks[of]
            if network.adapter is not None:
                self._ready.residence.bring(self.network)
                adapter = f"fused{len(self.networks)}"
                fuse(self.network, network.adapter, adapter)
                network = dataclasses.replace(network, adapter=adapter)
            self.networks[name] = network
            self._ready.loaded(network)

    def add_int8(self, name: str, of: str) -> None:
        """Add the network `of` with weights of 8 bits under another name."""
        if name not in self.networks:
            self._ready.ready(of)
            known = self.networks[of]
            plain = averaged(
                self.network, [(of, dataclasses.replace(known, text=None, text_adapter=None, vae=None), 1.0)]
            )
            self._shape_memory(plain.module)
            self.networks[name] = dataclasses.replace(known, module=quantised(plain.module), adapter=None)

    def add_weak(self, name: str, of: str, skipped: Skipped) -> None:
        """Add the network `of` without some of its blocks under another name; UsageError if it has no such blocks."""
        if name not in self.networks:
            check_skipped(self.networks[of].module, skipped)
            self.networks[name] = dataclasses.replace(self.networks[of], skipped=skipped)

    def _conditioned(self, side: TextSide, clip_skip: int | None, embeddings: Mapping[str, Path]) -> TextSide:
        """The side with these settings: the same object for the same settings, so that nothing is encoded twice."""
        key = (id(side), clip_skip, tuple(sorted(embeddings.items())))
        if key not in self._sides_made:
            self._sides_made[key] = conditioned(side, clip_skip, embeddings, self._text_side)
        return self._sides_made[key]

    def _shape_memory(self, module: Any) -> None:
        raise NotImplementedError

    def _text_side(self, loaded: Mapping[str, Any], clip_skip: int | None = None) -> TextSide:
        raise NotImplementedError
