"""Prompts are encoded once: the tensors of each distinct prompt, kept while they take little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

MOST_BYTES = 64 << 20
BATCH = 64  # prompts that are encoded at a time

Encode = Callable[[list[str]], tuple[Tensor, ...]]


class KnownTexts:
    """What `encode_prompts` made of the prompts seen so far, row by row."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._rows: dict[str, tuple[Tensor, ...]] = {}
        self._bytes = 0

    def gather(self, prompts: Sequence[str], encode: Encode) -> tuple[tuple[Tensor, ...], list[int]]:
        """The tensors of the distinct prompts, and for each prompt its place in their first axis.

        Unknown prompts are encoded, without gradient, at most 64 at a time. Rows of different lengths are filled up
        with zeros behind.
        """
        distinct = list(dict.fromkeys(prompts))
        if self._bytes > self.most_bytes:
            self._rows, self._bytes = {}, 0
        for batch in _batches([prompt for prompt in distinct if prompt not in self._rows]):
            with torch.no_grad():
                made = encode(batch)
            self._bytes += sum(tensor.nbytes for tensor in made)
            for index, prompt in enumerate(batch):
                self._rows[prompt] = tuple(tensor[index] for tensor in made)
        index_of = {prompt: index for index, prompt in enumerate(distinct)}
        rows = [self._rows[prompt] for prompt in distinct]
        return tuple(_stack(column) for column in zip(*rows, strict=True)), [index_of[prompt] for prompt in prompts]


def _batches(prompts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(prompts), BATCH):
        yield prompts[start : start + BATCH]


def _stack(rows: Sequence[Tensor]) -> Tensor:
    if len({tuple(row.shape) for row in rows}) == 1:
        return torch.stack(list(rows))
    return pad_sequence(list(rows), batch_first=True)


def cut_notes(count: int, limit: int) -> list[str]:
    """The sentence about `count` different prompts that are longer than `limit` tokens; none for none."""
    if count == 0:
        return []
    return [f"{count} prompt{'s' * (count > 1)} longer than {limit} tokens {'was' if count == 1 else 'were'} cut"]
