"""FirstBlockCache: a transformer whose other blocks are left out at steps at which its first one says much the same.

The first block runs at every step. Where what it adds to the image's states differs by no more than a threshold from
what it added when all blocks ran last, relative to that, the other blocks are left out, and what they added then is
added again (the rule of ParaAttention and of diffusers' `FirstBlockCacheConfig`). Diffusers decides for a whole batch
at once; here each image decides for itself, as it would alone in diffusers, so that no image depends on its batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError

_BLOCKS = frozenset({"FluxTransformerBlock", "FluxSingleTransformerBlock"})
"""Blocks that take and give (encoder_hidden_states, hidden_states), all of one transformer alike."""


def check_block_cache(module: Any) -> None:
    """UsageError unless the network is a transformer of such blocks, two or more."""
    blocks = _blocks_of(module)
    if len(blocks) < 2 or any(type(block).__name__ not in _BLOCKS for block in blocks):
        raise UsageError(
            f"threshold needs the blocks of a FLUX.1 transformer, and the network is a {type(module).__name__}"
        )


def _blocks_of(module: Any) -> list[nn.Module]:
    lists = [getattr(module, name, ()) for name in ("transformer_blocks", "single_transformer_blocks")]
    return [block for blocks in lists for block in blocks]


@contextlib.contextmanager
def first_block_caching(
    module: Any, threshold: float, images: int, features: dict[str, Tensor], network: str
) -> Iterator[None]:
    """Inside, the network leaves out blocks by this threshold; what it has to know of earlier steps is in `features`.

    A call has the rows of `images` images, in that order, once or (both sides of guidance) twice. Each call within the
    context is another one of the step, and is compared with its own. No tensor of `features` is written into.
    """
    blocks = _blocks_of(module)
    step = _Step(threshold, images, features, network, blocks[0].forward, [block.forward for block in blocks[1:]])
    blocks[0].forward = step.first
    for index, block in enumerate(blocks[1:]):
        block.forward = _Other(step, index).forward
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the one of its class is back


@dataclass(slots=True)
class _Step:
    """The calls of one network in one step. `rows` are those of the current call for which all blocks run."""

    threshold: float
    images: int
    features: dict[str, Tensor]
    network: str
    first_forward: Any
    forwards: list[Any]
    calls: int = 0
    key: str = ""
    rows: list[int] = field(default_factory=list)
    whole: tuple[Tensor, Tensor] | None = None  # what the first block gave, of all rows

    def first(self, hidden_states: Tensor, encoder_hidden_states: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        """The first block, and behind it the rows that the others shall run on."""
        encoder, hidden = self.first_forward(
            hidden_states=hidden_states, encoder_hidden_states=encoder_hidden_states, **more
        )
        self.key = f"{self.network}|{len(hidden)}|{self.calls}"
        self.calls += 1
        added = hidden - hidden_states
        self.rows = self._differing(added)
        self._keep("first", added)
        self.whole = encoder, hidden
        if not self.rows:
            return self._with_kept(encoder, hidden)
        return (encoder, hidden) if len(self.rows) == len(hidden) else (encoder[self.rows], hidden[self.rows])

    def other(self, index: int, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, **more: Any) -> Any:
        """Another block, on the rows that are computed; the last one puts all rows together again."""
        if not self.rows:
            return encoder_hidden_states, hidden_states
        encoder, hidden = self.forwards[index](
            hidden_states=hidden_states, encoder_hidden_states=encoder_hidden_states, temb=temb[self.rows], **more
        )
        if index < len(self.forwards) - 1:
            return encoder, hidden
        assert self.whole is not None
        for name, made, first in zip(("encoder", "hidden"), (encoder, hidden), self.whole, strict=True):
            added = torch.zeros_like(first)
            added[self.rows] = made - first[self.rows]
            self._keep(name, added)
        if len(self.rows) == len(self.whole[0]):
            return encoder, hidden
        all_encoder, all_hidden = self._with_kept(*self.whole)
        all_encoder[self.rows], all_hidden[self.rows] = encoder, hidden
        return all_encoder, all_hidden

    def _with_kept(self, encoder: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.features
        return kept[f"{self.key}|encoder"] + encoder, kept[f"{self.key}|hidden"] + hidden

    def _differing(self, added: Tensor) -> list[int]:
        """The rows whose image differs by more than the threshold: both sides of guidance of an image together."""
        before = self.features.get(f"{self.key}|first")
        if before is None:
            return list(range(len(added)))
        change, size = ((one.abs().flatten(1).mean(dim=1)).view(-1, self.images) for one in (added - before, before))
        differs = (change.mean(dim=0) / size.mean(dim=0) > self.threshold).tolist()
        return [row for row in range(len(added)) if differs[row % self.images]]

    def _keep(self, name: str, values: Tensor) -> None:
        """Keep the values of the rows that are computed; those of the others stay what they were."""
        key = f"{self.key}|{name}"
        before = self.features.get(key)
        if before is None or len(self.rows) == len(values):
            self.features[key] = values
        elif self.rows:
            new = before.clone()
            new[self.rows] = values[self.rows]
            self.features[key] = new


@dataclass(frozen=True, slots=True)
class _Other:
    """The forward of a block that is not the first."""

    step: _Step
    index: int

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, **more: Any) -> Any:
        """As that of the block."""
        return self.step.other(self.index, hidden_states, encoder_hidden_states, temb, **more)
