"""DeepCache (Ma et al. 2024, arXiv 2312.00858): a UNet whose deep part is computed at some steps and reused at others.

Features change slowly from step to step in a UNet's deep blocks. At a step that reuses them only the input layer, the
first down block, the last up block and the output layer run; what the blocks between would give is taken from the step
that computed it last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.errors import UsageError

Reuse = Literal["", "keep", "reuse"]
"""Nothing; compute all and keep the deep features; take the kept ones."""


def check_reuse(module: Any) -> None:
    """UsageError unless the network is a UNet with blocks between the first and the last."""
    if not all(hasattr(module, name) for name in ("down_blocks", "mid_block", "up_blocks")):
        raise UsageError(f"cache_interval is for UNets, and the network is a {type(module).__name__}")
    if len(module.up_blocks) < 2:
        raise UsageError("cache_interval needs a UNet of two blocks or more on each side")


@contextlib.contextmanager
def reusing(module: Any, mode: Reuse, features: dict[str, Tensor], network: str) -> Iterator[None]:
    """Inside, the network keeps its deep features in `features[network]`, or takes them from there.

    Kept features are for the same rows in the same order.
    """
    if not mode:
        yield
        return
    deepest = module.up_blocks[-2]
    changed: list[nn.Module] = [deepest]
    if mode == "keep":
        forward = deepest.forward

        def kept(*args: Any, **kwargs: Any) -> Tensor:
            features[network] = torch.as_tensor(forward(*args, **kwargs))
            return features[network]

        deepest.forward = kept
    else:
        known = features[network]
        skipped = [*module.down_blocks[1:], module.mid_block, *module.up_blocks[:-2]]
        changed += [block for block in skipped if block is not None]
        for block in module.down_blocks[1:]:
            block.forward = _placeholders(len(block.resnets) + len(block.downsamplers or ()))
        for block in (module.mid_block, *module.up_blocks[:-2]):
            if block is not None:
                block.forward = _unchanged
        deepest.forward = lambda *args, **kwargs: known
    try:
        yield
    finally:
        for block in changed:
            del block.forward  # the one of its class is back


def _unchanged(sample: Any = None, *args: Any, hidden_states: Any = None, **kwargs: Any) -> Any:
    return sample if hidden_states is None else hidden_states


def _placeholders(count: int) -> Any:
    """A down block that gives as many skip connections as its own, which nothing reads: the up blocks do not run."""

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        return hidden_states, (hidden_states,) * count

    return forward
