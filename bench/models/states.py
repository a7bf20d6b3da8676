"""The states of encoded prompts, within a bound of bytes, without the zeros that some families fill up with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

States = dict[str, Tensor]
MOST_BYTES = 2 << 30
"""Of the states that one side keeps: 750 prompts of SD3 with T5, 17,000 of Stable Diffusion 1.5 in half precision."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A tensor without its trailing zeros: `held` is its corner at index 0 of every axis."""

    held: Tensor
    shape: tuple[int, ...]

    def whole(self) -> Tensor:
        """The tensor, to the bit."""
        if tuple(self.held.shape) == self.shape:
            return self.held
        full = self.held.new_zeros(self.shape)
        full[tuple(slice(size) for size in self.held.shape)] = self.held
        return full


def _cut(state: Tensor) -> _Cut:
    """SD3 without T5 has 256 rows of zeros behind 77, and zeros behind the CLIP encoders' columns."""
    zero = (state == 0) & ~state.signbit()  # a negative zero is kept: it would come back as a positive one
    corner = []
    for axis in range(state.ndim):
        others = [other for other in range(state.ndim) if other != axis]
        filled = (~zero).any(dim=others) if others else ~zero
        corner.append(slice(0, int(filled.nonzero()[-1]) + 1 if bool(filled.any()) else 1))
    part = state[tuple(corner)]
    # A view would keep the whole alive.
    return _Cut(part.clone() if part.numel() < state.numel() else state, tuple(state.shape))


class KnownStates:
    """States by prompt, each without the axis N; beyond `most_bytes` those that were used longest ago are dropped."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self.most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        self.bytes = 0
        self._kept: OrderedDict[str, dict[str, _Cut]] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        return text in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, text: str) -> States:
        self._kept.move_to_end(text)
        return {name: state.whole() for name, state in self._kept[text].items()}

    def put(self, text: str, states: States, needed: Collection[str] = ()) -> None:
        """Keep the states of a prompt; the `needed` are not dropped for them."""
        self._kept[text] = {name: _cut(state) for name, state in states.items()}
        self.bytes += self._size(text)
        for other in list(self._kept):
            if self.bytes <= self.most_bytes:
                break
            if other != text and other not in needed:
                self.drop(other)

    def fits_another(self) -> bool:
        """Whether another prompt, as large as those that are here on average, would drop none."""
        return not self._kept or self.bytes + self.bytes / len(self._kept) <= self.most_bytes

    def drop(self, text: str) -> None:
        """Forget a prompt."""
        self.bytes -= self._size(text)
        del self._kept[text]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.bytes = 0

    def texts(self) -> list[str]:
        """The prompts, the one used longest ago first."""
        return list(self._kept)

    def _size(self, text: str) -> int:
        return sum(state.held.nbytes for state in self._kept[text].values())


def device_bytes(device: torch.device) -> int:
    """How many bytes of states may lie on a device beside networks and activations; 0 where it has no own memory."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(1 << 30, free // 25))
