"""A network without some of its transformer blocks: the weak one of autoguidance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from bench.errors import UsageError
from bench.formatting import counted

Skipped = tuple[str, tuple[int, ...]]
"""(path of a list of blocks in the network, indices of those that are left out)."""


def check_skipped(module: Any, skipped: Skipped) -> None:
    """UsageError unless the network has the blocks, and diffusers knows how to leave out blocks of their class."""
    path, indices = skipped
    lists = {name: len(part) for name, part in module.named_modules() if name.endswith("blocks") and _is_stack(part)}
    if path not in lists:
        known = ", ".join(lists) or "none"
        raise UsageError(f"weak: the network has no transformer blocks at '{path}' (it has {known})")
    if indices[-1] >= lists[path]:
        raise UsageError(
            f"weak: '{path}' has {counted(lists[path], 'block')}, so that there is no block {indices[-1]} (from 0)"
        )


def _is_stack(part: Any) -> bool:
    from diffusers.hooks._helpers import TransformerBlockRegistry

    TransformerBlockRegistry._register()  # what diffusers knows is filled in when it is first asked
    return isinstance(part, nn.ModuleList) and any(type(one) in TransformerBlockRegistry._registry for one in part)


@contextlib.contextmanager
def leaving_out(module: Any, skipped: Skipped | None) -> Iterator[None]:
    """Inside, the blocks give back what they were given; afterwards the network is what it was."""
    if skipped is None:
        yield
        return
    stack = module.get_submodule(skipped[0])
    blocks = [stack[index] for index in skipped[1]]
    for block in blocks:
        block.forward = _given_back(block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the one of its class is back


def _given_back(block: nn.Module) -> Callable[..., Any]:
    """A forward pass that returns what it was given, in the order in which the block returns it.

    Diffusers' own hook returns the image's states first, which is wrong for the blocks of SD3 and FLUX (0.42).
    """
    from diffusers.hooks._helpers import TransformerBlockRegistry

    known = TransformerBlockRegistry.get(type(block))
    text_at = known.return_encoder_hidden_states_index

    def forward(*args: Any, **kwargs: Any) -> Any:
        image = known._get_parameter_from_args_kwargs("hidden_states", args, kwargs)
        if text_at is None:
            return image
        text = known._get_parameter_from_args_kwargs("encoder_hidden_states", args, kwargs)
        return (text, image) if text_at == 0 else (image, text)

    return forward
