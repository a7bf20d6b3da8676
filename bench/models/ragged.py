"""Prompt states of different lengths: padded to the longest of a batch, with a mask only where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.models.states import States

MASK = "mask"
"""Name of the mask among the states: 1 for a token, 0 for padding, int64 [N, L]; absent where nothing is padded."""


class RaggedText:
    """For families whose pipelines keep no padding: a batch of one prompt is computed without any mask, as there."""

    def _stacked(self, rows: Sequence[States]) -> States:
        lengths = torch.tensor([len(row["text"]) for row in rows])
        states = {"text": pad_sequence([row["text"] for row in rows], batch_first=True)}
        if int(lengths.min()) < int(lengths.max()):
            states[MASK] = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
        return states


class Unpadded:
    """The rows of a padded batch without their padding. The lengths of the last masks are kept: each is on a device."""

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, list[int]]] = []

    def rows(self, states: States) -> list[Tensor]:
        """One tensor [L_n, ...] a row of the states' text."""
        mask = states.get(MASK)
        if mask is None:
            return list(states["text"].unbind(0))
        return [row[:length] for row, length in zip(states["text"], self._lengths(mask), strict=True)]

    def _lengths(self, mask: Tensor) -> list[int]:
        for known, lengths in self._known:
            if known is mask:
                return lengths
        lengths = mask.sum(dim=1).tolist()
        self._known = [(mask, lengths), *self._known[:3]]
        return lengths
