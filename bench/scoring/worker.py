"""How one loaded metric scores one run, chunk by chunk."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError
from bench.log import note
from bench.records import ScoreRow
from bench.reference import reference_statistics
from bench.scoring.todo import Target, Todo
from bench.stale import UNREADABLE

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.suite import Reference

SECONDS_BETWEEN_PARTS = 3.0
MOST_BLOCKS, MOST_BLOCKS_WIDE, WIDE = 20, 10, 512
"""Blocks of prompts that are left out in turn for a set metric's interval; fewer where one distance is slow."""

Pictures = Mapping[tuple[str, int], "Image | str"]
"""By (prompt id, sample): the decoded image, or why it cannot be used."""


@dataclass(slots=True)
class Scorer:
    """A loaded metric at work on one run."""

    name: str
    metric: Any
    card: dict[str, Any]
    target: Target
    todo: Todo
    reference: Reference | None
    cache: Path
    rows: list[ScoreRow] = field(default_factory=list)
    blocks: dict[int, Any] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)  # reason -> how often
    recorded_at: float = field(default_factory=time.monotonic)

    def take(self, prompt_ids: Sequence[str], pictures: Pictures) -> int:
        """Score what is to do among these prompts; returns the number of values made."""
        before = len(self.rows)
        kind = metrics.info(self.name).kind
        if kind == metrics.Kind.IMAGE:
            self._score_images([key for key in pictures if key in self.todo.images], pictures)
        elif kind == metrics.Kind.GROUP:
            for prompt_id in prompt_ids:
                if prompt_id in self.todo.prompts:
                    self._score_group(prompt_id, pictures)
        elif self.todo.whole:
            self._gather(prompt_ids, pictures)
        made = len(self.rows) - before
        self.record(after=SECONDS_BETWEEN_PARTS)
        return made

    def finish(self) -> int:
        """Score the whole set, record what is left, and say what could not be scored; returns the values made."""
        made = 0
        if self.todo.whole:
            self._score_set()
            made = 1
        self.record(last=True)
        for reason, count in self.faults.items():
            note(f"{self.target.store.name}: {self.name} has no value for {count} of its units: {reason}")
        return made

    def record(self, after: float = 0.0, last: bool = False) -> None:
        """Write the rows so far, if `after` seconds went by; values that replace others only with the last of them."""
        if not self.rows or (self.todo.replaces and not last) or time.monotonic() - self.recorded_at < after:
            return
        self.target.store.append_scores(self.name, self.rows, self.card)
        self.rows = []
        self.recorded_at = time.monotonic()

    def _add(self, prompt_id: str | None, sample: int | None, value: float, reason: str | None = None) -> None:
        if reason is None and not math.isfinite(value):
            reason = getattr(self.metric, "undefined_reason", None) or "the metric gave no finite number"
        if reason is not None:
            value = math.nan
            self.faults[reason] = self.faults.get(reason, 0) + 1
        self.rows.append(ScoreRow(prompt_id, sample, value, reason))

    def _score_images(self, keys: Sequence[tuple[str, int]], pictures: Pictures) -> None:
        usable = []
        for key in keys:
            picture = pictures[key]
            if isinstance(picture, str):
                self._add(*key, math.nan, UNREADABLE + picture)
            else:
                usable.append((key, picture))
        if not usable:
            return
        texts = [self.target.texts[key[0]] for key, _ in usable]
        try:
            values = [float(value) for value in self.metric.score([picture for _, picture in usable], texts)]
        except Exception as error:
            if len(usable) == 1:
                self._add(*usable[0][0], math.nan, _reason(error))
            else:  # find the one that it fails on
                for key, _ in usable:
                    self._score_images([key], pictures)
            return
        for (key, _), value in zip(usable, values, strict=True):
            self._add(*key, value)

    def _score_group(self, prompt_id: str, pictures: Pictures) -> None:
        mine = [pictures[row.key] for row in self.target.images[prompt_id]]
        faults = [picture for picture in mine if isinstance(picture, str)]
        if faults:
            self._add(prompt_id, None, math.nan, UNREADABLE + faults[0])
            return
        try:
            self._add(prompt_id, None, float(self.metric.score(mine, self.target.texts[prompt_id])))
        except Exception as error:
            self._add(prompt_id, None, math.nan, _reason(error))

    def _gather(self, prompt_ids: Sequence[str], pictures: Pictures) -> None:
        """Add these prompts' statistics to their block; a block holds None once an image of it failed."""
        order = {prompt_id: place for place, prompt_id in enumerate(self.target.images)}
        count = min(MOST_BLOCKS, len(order))
        for prompt_id in prompt_ids:
            block = order[prompt_id] * count // len(order)
            mine = [pictures[row.key] for row in self.target.images[prompt_id]]
            faults = [picture for picture in mine if isinstance(picture, str)]
            try:
                part = UNREADABLE + faults[0] if faults else self.metric.statistics(mine)
            except Exception as error:
                part = _reason(error)
            held = self.blocks.get(block)
            if held is None or isinstance(part, str):
                self.blocks[block] = part
            elif not isinstance(held, str):
                self.blocks[block] = held + part

    def _score_set(self) -> None:
        """The value of the whole set, and for its interval the values with one block of prompts left out each."""
        blocks = [self.blocks[place] for place in sorted(self.blocks)]
        faults = [block for block in blocks if isinstance(block, str)]
        if self.reference is None or faults:
            self._add(None, None, math.nan, faults[0] if faults else "the suite has no reference images")
            return
        try:
            against = reference_statistics(self.metric, type(blocks[0]), self.reference, self.cache)
            whole = _sum(blocks)
            value = float(self.metric.distance(whole, against))
            left_out = [float(self.metric.distance(part, against)) for part in _left_out(blocks)]
        except BenchError:
            raise
        except Exception as error:
            self._add(None, None, math.nan, _reason(error))
            return
        # The jackknife rows first: the row of the whole set says that all are there.
        self.rows += [ScoreRow(None, place, part) for place, part in enumerate(left_out) if math.isfinite(part)]
        self._add(None, None, value)


def _sum(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _left_out(blocks: Sequence[Any]) -> list[Any]:
    """The sums of all blocks but one, each; neighbouring blocks are put together where one distance is slow."""
    if getattr(blocks[0], "width", 0) > WIDE and len(blocks) > MOST_BLOCKS_WIDE:
        step = math.ceil(len(blocks) / MOST_BLOCKS_WIDE)
        blocks = [_sum(blocks[start : start + step]) for start in range(0, len(blocks), step)]
    if len(blocks) < 3:
        return []
    return [_sum([*blocks[:place], *blocks[place + 1 :]]) for place in range(len(blocks))]


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0][:300]
    return text if isinstance(error, metrics.MetricError) else f"{type(error).__name__}: {text}"
