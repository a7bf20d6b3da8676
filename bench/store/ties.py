"""Which pictures a value was made of. Pure.

A value of an image metric is tied to the sha256 of its picture; one of several pictures to the sha256 of their list, a
line `<prompt_id>/<sample> <sha256>` each, in order. A value whose tie is not that of the recorded pictures is of
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property

from bench.store.records import ImageRow

Key = tuple[str | None, int | None]


class Ties:
    """The ties of all values that a run's pictures can have: `prompts` and `samples` are what its manifest covers."""

    def __init__(self, images: Iterable[ImageRow], prompts: Iterable[str], samples: int) -> None:
        known = set(prompts)
        self._groups: dict[str, list[ImageRow]] = {}
        self._recorded: set[Key] = set()
        for row in images:
            self._recorded.add(row.key)
            if row.prompt_id in known and row.sample < samples:
                self._groups.setdefault(row.prompt_id, []).append(row)
        self._images = {row.key: row.sha256 for group in self._groups.values() for row in group}
        self._made: dict[str, str] = {}

    def of(self, prompt_id: str | None, sample: int | None) -> str | None:
        """The tie of a value: of a picture, a prompt's pictures (no sample) or all (no prompt); None without any."""
        if prompt_id is None:
            return self.whole if self._images else None
        if sample is not None:
            return self._images.get((prompt_id, sample))
        if prompt_id not in self._groups:
            return None
        if prompt_id not in self._made:
            self._made[prompt_id] = tie_of(self._groups[prompt_id])
        return self._made[prompt_id]

    def recorded(self, prompt_id: str, sample: int | None) -> bool:
        """Whether the run has a picture of this prompt (and sample), also where its manifest does not cover it."""
        if sample is not None:
            return (prompt_id, sample) in self._recorded
        return any(key[0] == prompt_id for key in self._recorded)

    @cached_property
    def whole(self) -> str:
        """The tie of all pictures."""
        return tie_of(row for group in self._groups.values() for row in group)


def tie_of(rows: Iterable[ImageRow]) -> str:
    """The tie of several pictures: sha256, as 64 hex digits.

    >>> from bench.store.records import ImageRow
    >>> tie_of([ImageRow("p", "a cat", 0, 42, "images/p/0.png", "ab" * 32, 0.1)])[:12]
    '3b5a4fa08dd9'
    """
    return tie_of_digests({row.key: row.sha256 for row in rows})


def tie_of_digests(digests: Mapping[tuple[str, int], str]) -> str:
    """As `tie_of`, from the sha256 of each (prompt id, sample)."""
    lines = "".join(f"{prompt}/{sample} {digests[prompt, sample]}\n" for prompt, sample in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
