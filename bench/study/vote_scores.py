"""Scores of the pictures that votes are on, by the metrics of a suite, with everything that scoring a run shares.

Pictures of one prompt (or of one set) are a unit, as the samples of a prompt are in a run: image metrics score each
picture, group metrics each set. An image metric's value of a set is the mean over its pictures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import metrics
from bench.errors import UsageError
from bench.registry.metrics import ensure_metrics
from bench.runtime.progress import Progress
from bench.scoring.chunk import Chunk, Tools, file_of
from bench.scoring.chunking import chunks
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.memory import Models
from bench.scoring.missing import Missing, Target
from bench.scoring.notes import notes_on
from bench.scoring.reader import reading
from bench.scoring.ready import failed
from bench.scoring.worker import Scorer
from bench.store.records import ImageRow, ScoreRow
from bench.store.run_store import RunStore
from bench.store.ties import Ties
from bench.study.vote_pictures import Pictured, Side
from metrics.types import is_official

if TYPE_CHECKING:
    from bench.suite.schema import Suite

Unit = tuple[str, Side]
"""A prompt and what is scored with it."""


@dataclass(slots=True)
class Scored:
    """One metric's values of the units, with its direction (higher is better), and why some have none."""

    name: str
    higher: bool
    card: dict[str, Any]
    values: dict[Unit, float]
    reasons: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def differences(self, prompts: Sequence[str], sides: Sequence[tuple[Side, Side]]) -> np.ndarray[Any, Any]:
        """a - b of votes [N], positive where the metric holds a for better; NaN where one side has no value."""
        sign = 1.0 if self.higher else -1.0
        pairs = zip(prompts, sides, strict=True)
        return np.array([sign * (self.values[prompt, a] - self.values[prompt, b]) for prompt, (a, b) in pairs])


def metrics_for(suite: Suite, asked: Sequence[str] | None, sets: bool) -> tuple[Suite, dict[str, str]]:
    """The suite with the metrics that can be held against the votes, and why others of the suite cannot.

    UsageError: one that was asked for cannot, or none is left.
    """
    ensure_metrics()
    chosen = suite.override(metrics=list(asked)) if asked else suite
    left_out = {name: why for name in chosen.metrics if (why := _unfit(name, sets))}
    if asked and left_out:
        name, why = next(iter(left_out.items()))
        raise UsageError(f"metric '{name}' cannot be held against these votes: {why}")
    fit = [name for name in chosen.metrics if name not in left_out]
    if not fit:
        raise UsageError(f"no metric of suite '{suite.name}' can be held against these votes: name some with --metrics")
    return chosen.override(metrics=fit), left_out


def _unfit(name: str, sets: bool) -> str:
    kind = metrics.info(name).kind
    if kind == metrics.Kind.SET:
        return "it compares all images with a reference set, and has no value of one prompt's images"
    if is_official(name):
        return "the official protocol looks at a whole run, which votes are not"
    if kind == metrics.Kind.GROUP and not sets:
        return "it is of several images of a prompt, and the votes are on single images"
    return ""


def scores_of(
    found: Pictured, suite: Suite, device: str, cache: Path, progress: Progress
) -> tuple[list[Scored], Exception | None]:
    """The values of all units by each metric, in the suite's order; and what failed, where other metrics did not.

    The error is raised where all failed.
    """
    units = _units(found)
    target = _target(found, units)
    made: dict[str, Scored] = {}
    models = Models([*suite.metrics], suite, device)
    total = sum(_missing(name, target).size for name in suite.metrics)
    progress.start("score", total)
    try:
        with reading() as reader:
            tools = Tools(reader, FeatureCache(cache / "features"))
            for group in models.groups():
                for one in _of_group(group, target, suite, tools, progress):
                    made[one.name] = _by_unit(one, target, units)
                group = {}  # the next one is loaded when nothing holds this
    finally:
        progress.finish()
    error = failed(models.failures, "The other metrics are below" if made else "Nothing was scored")
    if not made:
        raise error
    return [made[name] for name in suite.metrics if name in made], error if models.failures else None


def _units(found: Pictured) -> dict[str, tuple[str, tuple[Side, ...]]]:
    """Unit's id -> prompt and what it has: the set, or all pictures of the prompt."""
    by_prompt: dict[str, dict[Side, None]] = {}
    for vote, pair in zip(found.votes, found.sides, strict=True):
        by_prompt.setdefault(vote.prompt, {}).update(dict.fromkeys(pair))
    pairs: list[tuple[str, tuple[Side, ...]]]
    if found.sets:
        pairs = [(prompt, (side,)) for prompt, sides in by_prompt.items() for side in sides]
    else:
        pairs = [(prompt, tuple(sides)) for prompt, sides in by_prompt.items()]
    return {f"u{index}": pair for index, pair in enumerate(pairs)}


def _target(found: Pictured, units: Mapping[str, tuple[str, tuple[Side, ...]]]) -> Target:
    images = {
        unit: [
            ImageRow(unit, prompt, sample, 0, str(path.absolute()), found.digests[path], 0.0)
            for sample, path in enumerate(path for side in sides for path in side.files)
        ]
        for unit, (prompt, sides) in units.items()
    }
    texts = {unit: prompt for unit, (prompt, _) in units.items()}
    most = max(len(rows) for rows in images.values())
    rows = [row for group in images.values() for row in group]
    return Target(RunStore(Path("/").absolute(), "votes"), texts, images, Ties(rows, texts, most))


def _missing(name: str, target: Target) -> Missing:
    if metrics.info(name).kind == metrics.Kind.GROUP:
        return Missing(prompts=set(target.images))
    return Missing(images={row.key for rows in target.images.values() for row in rows})


@dataclass(slots=True)
class _VoteScorer(Scorer):
    """A loaded metric at work on the pictures of votes; nothing is recorded on the disk."""

    made: list[ScoreRow] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.told = notes_on(self.metric, self.target)

    def record(self, after: float = 0.0, last: bool = False) -> None:
        self.made += self.rows
        self.rows = []


def _of_group(
    group: Mapping[str, Any], target: Target, suite: Suite, tools: Tools, progress: Progress
) -> list[_VoteScorer]:
    from metrics.base.precision import products_of  # loads torch, which is loaded by now

    scorers = [
        _VoteScorer(name, metric, metric.card.to_dict(), target, _missing(name, target), None, Path(), tools)
        for name, metric in group.items()
    ]
    wanted = [one.preprocessing for one in scorers]
    shared = frozenset(name for name in wanted if name is not None and wanted.count(name) > 1)
    for scorer in scorers:
        scorer.begin()
    for ids in chunks(target):
        chunk = Chunk(target, ids, tools, shared)
        chunk.read_ahead({k for s in scorers for k in s.pixels(chunk)}, {k for s in scorers for k in s.wanted(chunk)})
        for scorer in scorers:
            with products_of(scorer.metric.card):
                progress.advance(scorer.take(chunk))
    return scorers


def _by_unit(one: _VoteScorer, target: Target, units: Mapping[str, tuple[str, tuple[Side, ...]]]) -> Scored:
    facts = metrics.info(one.name)
    by_key = {(row.prompt_id, row.sample): row.value for row in one.made}
    found = Scored(one.name, facts.direction == metrics.Direction.HIGHER, one.card, {}, notes=one.told)
    for unit, (prompt, sides) in units.items():
        start = 0
        for side in sides:
            samples = range(start, start + len(side.files))
            start += len(side.files)
            values = [by_key.get((unit, None), math.nan)] if facts.kind == metrics.Kind.GROUP else []
            values = values or [by_key.get((unit, sample), math.nan) for sample in samples]
            found.values[prompt, side] = sum(values) / len(values)
    paths = {file_of(row.key): Path(row.path).name for rows in target.images.values() for row in rows}
    for row in one.made:
        if row.reason is not None and row.prompt_id is not None:
            name = file_of((row.prompt_id, row.sample or 0))
            found.reasons[row.reason.replace(name, paths[name], 1)] += 1
    return found
