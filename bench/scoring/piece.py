"""Pieces of scoring: some prompts' images of a run, scored by a worker that knows nothing of the others.

A piece is one or more whole chunks (`bench.scoring.chunking`), so that its values are those of the whole run's scoring
to the last digit. Values of images and groups are made here; of what set metrics need, the features are kept in the
cache, where the one who scores the sets finds them. Metrics of the official protocol, which look at all images of a
run, are left to it altogether.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError
from bench.runtime.devices import out_of_memory
from bench.runtime.log import get_logger
from bench.scoring.chunk import Chunk, Tools
from bench.scoring.identity import Scope, scope_of
from bench.scoring.missing import Key, Missing, Target, find_missing
from bench.scoring.notes import image_notes, notes_on
from bench.scoring.worker import SECONDS_BETWEEN_PARTS, Scorer
from bench.store.outdated import UNREADABLE
from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.run_store import RunStore
from bench.store.ties import Ties
from metrics.types import is_official

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole chunk of the run `name` in the folder `run`: its images, and what of it each metric has to make.

    A set metric has nothing to make of a piece but features: its `Missing` is `whole`.
    """

    run: Path
    name: str  # the folder has another one while the run is made anew beside the old one
    prompt_ids: tuple[str, ...]
    rows: tuple[ImageRow, ...]
    missing: Mapping[str, Missing]

    @property
    def size(self) -> int:
        """Number of values to make."""
        return sum(len(one.images) + len(one.prompts) for one in self.missing.values())


@dataclass(slots=True)
class Scored:
    """Values of one metric that were made of pieces of a run, with the card that they were made under."""

    run: Path
    metric: str
    card: dict[str, Any]
    rows: list[ScoreRow] = field(default_factory=list)


@dataclass(slots=True)
class PieceScorer(Scorer):
    """A loaded metric at work on pieces; nothing is recorded, and the manifest is not touched."""

    made: list[ScoreRow] = field(default_factory=list)

    def begin(self) -> None:
        """The notes go with the card."""
        notes = notes_on(self.metric, self.target)
        self.card["notes"] = [*notes, *image_notes(self.target.store.manifest())]

    def take(self, chunk: Chunk) -> int:
        """As `Scorer.take`; of a set metric only features are made, and kept in the cache."""
        if self.kind != metrics.Kind.SET:
            return Scorer.take(self, chunk)
        if self.by_features and (wanted := self.wanted(chunk)):
            chunk.features(self.metric, wanted)
        return 0

    def record(self, after: float = 0.0, last: bool = False) -> None:
        """Keep the rows, tied to their pictures."""
        tie = self.target.ties.of
        self.made += [replace(row, image_sha256=tie(row.prompt_id, row.sample_of_picture)) for row in self.rows]
        self.rows = []


def pieces_of(
    store: RunStore,
    chunks: Iterable[Sequence[str]],
    missing: Mapping[str, Missing],
    rows: Mapping[Key, ImageRow],
    wanted: Collection[Key],
) -> Iterator[Piece]:
    """The pieces of a run of whose chunks all wanted images are there, and something is to do.

    `rows` are the recorded images, `missing` what each metric lacks in the whole run (`missing_of`).
    """
    by_prompt: dict[str, list[Key]] = {}
    for key in sorted(wanted):
        by_prompt.setdefault(key[0], []).append(key)
    for prompt_ids in chunks:
        keys = [key for prompt_id in prompt_ids for key in by_prompt.get(prompt_id, ())]
        if not keys or any(key not in rows for key in keys):
            continue
        mine = {name: _within(one, keys, prompt_ids) for name, one in missing.items()}
        mine = {name: one for name, one in mine.items() if one.size}
        if mine:
            yield Piece(store.path, store.name, tuple(prompt_ids), tuple(rows[key] for key in keys), mine)


def missing_of(target: Target, suite: Suite, keys: Iterable[Key]) -> dict[str, Missing]:
    """What each metric that can be scored in pieces lacks of the images of these keys.

    A metric whose scope cannot be told (weights missing) is left to the one who scores the run, who says so.
    """
    keys = list(keys)
    found = {}
    for name, spec in suite.metrics.items():
        if is_official(name):
            continue
        try:
            scope = scope_of(name, spec, suite)
        except (BenchError, metrics.MetricError):
            continue
        kind = metrics.info(name).kind
        have = find_missing(target, name, scope.digest)
        if kind == metrics.Kind.SET:
            found[name] = Missing(whole=have.whole)
            continue
        there = {row.key for group in target.images.values() for row in group}
        if kind == metrics.Kind.IMAGE:  # an image that is still to come has no value either
            found[name] = Missing(images={key for key in keys if key not in there or key in have.images})
        else:
            prompts = {key[0] for key in keys}
            found[name] = Missing(prompts={one for one in prompts if one not in target.images or one in have.prompts})
    return {name: one for name, one in found.items() if one.size}


class Records:
    """Values of pieces on their way to the disk, a file for those of some seconds. The caller may write to the runs."""

    def __init__(self, stores: Iterable[RunStore]) -> None:
        self._stores = {store.path: store for store in stores}
        self._waiting: dict[tuple[Path, str], Scored] = {}
        self._recorded_at = time.monotonic()

    def add(self, found: Iterable[Scored]) -> int:
        """Take values; returns how many."""
        count = 0
        for one in found:
            count += len(one.rows)
            before = self._waiting.setdefault((one.run, one.metric), one)
            if before is not one:
                before.rows += one.rows
        self.record(SECONDS_BETWEEN_PARTS)
        return count

    def record(self, after: float = 0.0) -> None:
        """Write them, if the last time was more than `after` seconds ago."""
        if time.monotonic() - self._recorded_at >= after:
            for one in self._waiting.values():
                self._stores[one.run].append_scores(one.metric, one.rows, one.card)
            self._waiting.clear()
            self._recorded_at = time.monotonic()


class Pieces:
    """Metrics that are loaded, and score pieces. `cache`: the results folder's."""

    def __init__(self, group: Mapping[str, Any], suite: Suite, cache: Path, tools: Tools) -> None:
        self._group, self._suite, self._cache, self._tools = group, suite, cache, tools
        self._scopes: dict[str, Scope] = {name: scope_of(name, suite.metrics[name], suite) for name in group}
        self._runs: dict[Path, tuple[RunStore, Manifest]] = {}

    def score(self, piece: Piece) -> list[Scored]:
        """The values of a piece. A metric that fails makes none: who scores the run tries it again, and says why."""
        store, manifest = self._run(piece.run, piece.name)
        target = _target(store, manifest, piece)
        scorers = [self._scorer(name, target, piece) for name in self._group if name in piece.missing]
        scorers = [one for one in scorers if one.missing.size]
        wanted = [one.preprocessing for one in scorers]
        shared = frozenset(name for name in wanted if name is not None and wanted.count(name) > 1)
        chunk = Chunk(target, piece.prompt_ids, self._tools, shared)
        chunk.read_ahead({k for s in scorers for k in s.pixels(chunk)}, {k for s in scorers for k in s.wanted(chunk)})
        from metrics.base.precision import products_of  # loads torch, which is loaded by now

        found = []
        for scorer in scorers:
            try:
                scorer.begin()
                with products_of(scorer.metric.card):
                    scorer.take(chunk)
            except BenchError:
                continue
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                continue
            _tell(scorer)
            if scorer.made:
                found.append(Scored(piece.run, scorer.name, scorer.card, scorer.made))
        return found

    def _scorer(self, name: str, target: Target, piece: Piece) -> PieceScorer:
        scope, metric = self._scopes[name], self._group[name]
        card = metric.card.to_dict() | {"scope": scope.digest, "asked": dict(scope.asked)}
        reference = self._suite.reference
        return PieceScorer(name, metric, card, target, piece.missing[name], reference, self._cache, self._tools)

    def _run(self, path: Path, name: str) -> tuple[RunStore, Manifest]:
        if path not in self._runs:
            store = RunStore(path, name)
            self._runs[path] = store, store.manifest()
        return self._runs[path]


def _tell(scorer: PieceScorer) -> None:
    for reason, count in scorer.faults.items():
        if not reason.startswith(UNREADABLE):
            logger.warning(f"{scorer.target.store.name}: {scorer.name} has no value for {count} of its units: {reason}")


def _target(store: RunStore, manifest: Manifest, piece: Piece) -> Target:
    texts = {str(prompt["id"]): str(prompt["text"]) for prompt in manifest.prompts}
    images: dict[str, list[ImageRow]] = {prompt_id: [] for prompt_id in texts}  # all of them: notes are on the run
    for row in piece.rows:
        images[row.prompt_id].append(row)
    return Target(store, texts, images, Ties(piece.rows, texts, manifest.samples))


def _within(missing: Missing, keys: Sequence[Key], prompt_ids: Sequence[str]) -> Missing:
    return Missing(missing.images & set(keys), missing.prompts & set(prompt_ids), missing.whole)
