"""Counting the prompts that a tokenizer's limit cuts: said in the notes of a metric, never silent."""

from __future__ import annotations

from collections.abc import Iterable


class CutPrompts:
    """Keeps one sentence in a metric's notes up to date: how many different prompts were cut so far."""

    def __init__(self, notes: dict[str, None]) -> None:
        self._notes = notes
        self._cut: set[str] = set()
        self._sentence = ""

    def add(self, prompts: Iterable[str], lengths: Iterable[int], limit: int) -> None:
        """Prompts with their lengths in tokens, the added ones included; longer than `limit` means cut."""
        self._cut.update(prompt for prompt, length in zip(prompts, lengths, strict=True) if length > limit)
        if not self._cut:
            return
        self._notes.pop(self._sentence, None)
        count = len(self._cut)
        self._sentence = f"{count} prompt{'s' * (count > 1)} longer than {limit} tokens {_were(count)} cut"
        self._notes[self._sentence] = None


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
