"""Prompts that a tokenizer's limit cuts: said in the notes of a metric, never silent."""

from __future__ import annotations


def cut_notes(count: int, limit: int) -> list[str]:
    """The sentence about `count` different prompts that are longer than `limit` tokens; none for none."""
    if count == 0:
        return []
    return [f"{count} prompt{'s' * (count > 1)} longer than {limit} tokens {'was' if count == 1 else 'were'} cut"]
