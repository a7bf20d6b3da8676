"""How one loaded metric scores one run, chunk by chunk."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError
from bench.runtime.log import ONCE, get_logger
from bench.scoring.blocks import count_for, distances
from bench.scoring.chunk import MULTIPLE, Chunk, Tools, each_or_why, reason_of, unreadable, with_names
from bench.scoring.missing import Key, Missing, Target
from bench.scoring.notes import image_notes, notes_on
from bench.scoring.official import features_of_all, logged_note
from bench.scoring.reference import reference_statistics
from bench.store.outdated import UNREADABLE
from bench.store.records import ScoreRow
from bench.store.values import out_of_range
from metrics.types import is_official

if TYPE_CHECKING:
    from torch import Tensor

    from bench.suite.schema import Reference

logger = get_logger(__name__)

SECONDS_BETWEEN_PARTS = 3.0


@dataclass(slots=True)
class Scorer:
    """A loaded metric at work on one run."""

    name: str
    metric: Any
    card: dict[str, Any]
    target: Target
    missing: Missing
    reference: Reference | None
    folder: Path  # of the reference's statistics
    tools: Tools
    rows: list[ScoreRow] = field(default_factory=list)
    blocks: dict[int, Any] = field(default_factory=dict)  # block -> statistics, or why there are none
    pending: dict[int, list[tuple[Tensor, str]]] = field(
        default_factory=dict
    )  # block -> features not yet in it, prompts
    faults: dict[str, int] = field(default_factory=dict)  # reason -> how often
    seen: dict[Key, Any] = field(default_factory=dict)  # features of all images, for groups of the official protocol
    recorded_at: float = field(default_factory=time.monotonic)

    @property
    def kind(self) -> metrics.Kind:
        """What one value of the metric is about."""
        return metrics.info(self.name).kind

    @property
    def by_features(self) -> bool:
        """Whether the metric's values are made of features of single images."""
        return bool(getattr(self.metric, "by_features", False))

    @property
    def preprocessing(self) -> str | None:
        """What its inputs have in common with those of other metrics; None for a metric that takes images."""
        return str(self.metric.preprocessing) if self.by_features else None

    def wanted(self, chunk: Chunk) -> list[Key]:
        """The images of a chunk that are needed for what is to do."""
        if self.kind == metrics.Kind.IMAGE:
            return [key for key in chunk.rows if key in self.missing.images]
        if self.kind == metrics.Kind.GROUP:
            whole = features_of_all(self.name) and self.missing.prompts
            return [key for key in chunk.rows if whole or key[0] in self.missing.prompts]
        return list(chunk.rows) if self.missing.whole else []

    def pixels(self, chunk: Chunk) -> set[Key]:
        """Those of the wanted images that must be decoded: all but those whose features are kept."""
        wanted = set(self.wanted(chunk))
        return wanted - chunk.shelved(self.metric, wanted) if self.by_features else wanted

    def begin(self) -> None:
        """Keep the notes on the values that will be made: before them, so that an interruption cannot part the two."""
        if self.kind != metrics.Kind.SET:
            self._keep_notes(notes_on(self.metric, self.target))

    def take(self, chunk: Chunk) -> int:
        """Score what is to do in a chunk; returns the number of values made."""
        before = len(self.rows)
        if wanted := self.wanted(chunk):
            if self.kind == metrics.Kind.IMAGE:
                self._score_images(chunk, wanted)
            elif self.kind == metrics.Kind.GROUP:
                self._score_groups(chunk, wanted)
            else:
                self._gather(chunk, wanted)
        made = len(self.rows) - before
        self.record(after=SECONDS_BETWEEN_PARTS)
        return made

    def finish(self) -> int:
        """Score the whole set, record what is left, and say what could not be scored; returns the values made.

        Raises BenchError where the reference images are missing.
        """
        made = 0
        if self.missing.whole:
            self._score_set()
            made = 1
        self.record(last=True)
        if is_official(self.name):
            logged = logged_note(self.name, self.metric, self.target, self.seen)
            self._keep_notes([*notes_on(self.metric, self.target), logged], told=False)
        for reason, count in self.faults.items():
            if reason.startswith(UNREADABLE):  # said once for all metrics
                continue
            logger.warning(f"{self.target.store.name}: {self.name} has no value for {count} of its units: {reason}")
        return made

    def record(self, after: float = 0.0, last: bool = False) -> None:
        """Write the rows so far, if `after` seconds went by; values that replace others only with the last of them."""
        if not self.rows or (self.missing.replaces and not last) or time.monotonic() - self.recorded_at < after:
            return
        tie = self.target.ties.of
        rows = [replace(row, image_sha256=tie(row.prompt_id, row.sample_of_picture)) for row in self.rows]
        self.target.store.append_scores(self.name, rows, self.card)
        self.rows = []
        self.recorded_at = time.monotonic()

    def _add(self, prompt_id: str | None, sample: int | None, value: float | str, images: int = 1) -> None:
        """A value that so many images have, or why there is none."""
        reason = value if isinstance(value, str) else None
        if not isinstance(value, str) and not math.isfinite(value):
            reason = self._why_undefined(images) or "the metric gave no finite number"
        if reason is None and not isinstance(value, str):
            reason = out_of_range(value, self.card)
        if reason is not None:
            self.faults[reason] = self.faults.get(reason, 0) + 1
        self.rows.append(ScoreRow(prompt_id, sample, math.nan if isinstance(value, str) or reason else value, reason))

    def _why_undefined(self, images: int) -> str | None:
        if hasattr(self.metric, "why_undefined"):
            return self.metric.why_undefined(images)  # type: ignore[no-any-return]
        return getattr(self.metric, "undefined_reason", None)

    def _seen(self, chunk: Chunk, keys: Sequence[Key]) -> Mapping[Key, Any]:
        """What the metric sees of each image, its features or its pixels; or why that cannot be had, as text."""
        if self.by_features:
            return chunk.features(self.metric, keys)
        pictures = {key: chunk.picture(key) for key in keys}
        return {key: unreadable(key, one) if isinstance(one, str) else one for key, one in pictures.items()}

    def _score_images(self, chunk: Chunk, keys: Sequence[Key]) -> None:
        seen = self._seen(chunk, keys)
        usable = [key for key in keys if not isinstance(seen[key], str)]
        values = each_or_why([(seen[key], self.target.texts[key[0]]) for key in usable], self._values)
        found: dict[Key, float | str] = {key: with_names([key], one) for key, one in zip(usable, values, strict=True)}
        for key in keys:
            self._add(*key, found[key] if key in found else seen[key])

    def _values(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        """The values of images, as features or pixels, with their prompts."""
        if not self.by_features:
            found = self.metric.score([one for one, _ in pairs], [text for _, text in pairs])
        else:
            import torch

            full = [*pairs, *([pairs[-1]] * (-len(pairs) % MULTIPLE))]
            found = self.metric.score_features(torch.stack([one for one, _ in full]), [text for _, text in full])
        return [float(value) for value in found[: len(pairs)]]

    def _score_groups(self, chunk: Chunk, keys: Sequence[Key]) -> None:
        seen = self._seen(chunk, keys)
        if features_of_all(self.name):
            self.seen.update(seen)
        for prompt_id in chunk.prompt_ids:
            if prompt_id not in self.missing.prompts:
                continue
            mine = [seen[key] for key in chunk.keys_of(prompt_id)]
            fault = next((one for one in mine if isinstance(one, str)), None) or self.target.refusal_in(prompt_id)
            value = with_names(chunk.keys_of(prompt_id), self._group_value(mine, prompt_id)) if fault is None else fault
            self._add(prompt_id, None, value, len(mine))

    def _group_value(self, images: Sequence[Any], prompt_id: str) -> float | str:
        text = self.target.texts[prompt_id]
        try:
            if not self.by_features:
                return float(self.metric.score(list(images), text))
            import torch

            return float(self.metric.score_embeddings(torch.stack(list(images)), text))
        except BenchError:
            raise
        except Exception as error:
            return reason_of(error)

    def _gather(self, chunk: Chunk, keys: Sequence[Key]) -> None:
        """Add images to the blocks of their prompts (a text once an image failed); one cluster is left out together."""
        order = self.target.clusters or {prompt_id: index for index, prompt_id in enumerate(self.target.images)}
        clusters = 1 + max(order.values())
        count, step = count_for(clusters, self.metric.width if self.by_features else 0)
        seen = self._seen(chunk, keys)
        for prompt_id in chunk.prompt_ids:
            block = order[prompt_id] * count // clusters // step
            for other in [other for other in self.pending if other != block]:
                self._close(other)
            mine = [seen[key] for key in chunk.keys_of(prompt_id)]
            fault = next((one for one in mine if isinstance(one, str)), None)
            if fault is not None:
                self.blocks[block] = fault
            elif self.by_features:
                self.pending.setdefault(block, []).extend((one, self.target.texts[prompt_id]) for one in mine)
            else:
                self._join(block, self.metric.statistics, mine)

    def _close(self, block: int) -> None:
        """Make the statistics of a block whose features are all there."""
        import torch

        held = self.pending.pop(block)
        prompts = ([prompt for _, prompt in held],) if getattr(self.metric, "with_prompts", False) else ()
        self._join(block, self.metric.statistics_of, torch.stack([row for row, _ in held]), *prompts)

    def _join(self, block: int, statistics: Any, *images: Any) -> None:
        held = self.blocks.get(block)
        if isinstance(held, str):
            return
        try:
            part = statistics(*images)
            self.blocks[block] = part if held is None else held + part
        except Exception as error:
            self.blocks[block] = reason_of(error)

    def _score_set(self) -> None:
        """The value of the whole set, and for its interval the values with one block of prompts left out each."""
        for block in list(self.pending):
            self._close(block)
        blocks = [self.blocks[index] for index in sorted(self.blocks)]
        faults = [block for block in blocks if isinstance(block, str)]
        alone = not metrics.info(self.name).reference
        if (self.reference is None and not alone) or faults:
            self._add(None, None, faults[0] if faults else "the suite has no reference images")
            return
        try:
            against = self._against(type(blocks[0]))
            value, left_out = distances(self.metric, blocks, against)
            if self.by_features:
                self._keep_notes(self.metric.notes(self.target.count, reference=against))
        except BenchError:
            raise
        except Exception as error:
            self._add(None, None, reason_of(error))
            return
        # The jackknife rows first: the row of the whole set says that all are there.
        self.rows += [ScoreRow(None, index, part) for index, part in enumerate(left_out) if math.isfinite(part)]
        self._add(None, None, value, min(self.target.count, getattr(against, "n", 0) or self.target.count))

    def _against(self, kind: Any) -> Any:
        """The statistics of the reference images; None for a metric that compares with none."""
        if self.reference is None or not metrics.info(self.name).reference:
            return None
        return reference_statistics(self.metric, kind, self.reference, self.folder, self.tools)

    def _keep_notes(self, sentences: Sequence[str], *, told: bool = True) -> None:
        """Say what the reader of the values should know (unless it is `told` in tables only), and keep it."""
        named = "" if self.kind == metrics.Kind.SET else f"{self.name}: "  # a set metric's begin with its title
        for sentence in sentences if told else ():
            logger.warning(f"{named}{sentence}", extra=ONCE)
        manifest = self.target.store.manifest()
        sentences = [*sentences, *image_notes(manifest)]
        self.card["notes"] = list(sentences)  # beside the values: what becomes of the manifest, they stay together
        if manifest.notes.get(self.name, []) != list(sentences):
            manifest.notes[self.name] = list(sentences)
            self.target.store.write_manifest(manifest)
