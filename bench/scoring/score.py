"""Images -> score rows. Only what is missing is scored; what two metrics need of an image is computed once.

Metrics that fit into memory together score side by side, chunk by chunk; the others take turns (`bench.scoring`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError
from bench.registry.metrics import ensure_metrics
from bench.runtime.devices import out_of_memory, too_little_memory
from bench.runtime.log import ONCE, get_logger
from bench.runtime.progress import Progress, Silent
from bench.scoring.chunk import Chunk, Tools
from bench.scoring.chunking import chunks
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.identity import Scope, scope_of
from bench.scoring.leakage import with_leakage
from bench.scoring.memory import Models
from bench.scoring.missing import Target, cards_differ, find_missing, target_of
from bench.scoring.reader import KEEP_BYTES, reading
from bench.scoring.ready import failed
from bench.scoring.worker import Scorer
from bench.store.leftovers import clean_leftovers
from bench.store.run_store import RunStore, lock_runs

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)

Failures = dict[str, Exception]


@dataclass(frozen=True, slots=True)
class _Job:
    """One call of `score`."""

    targets: Sequence[Target]
    scopes: Mapping[str, Scope]
    suite: Suite
    cache: Path
    tools: Tools
    progress: Progress
    failures: Failures


def score(
    stores: Sequence[RunStore],
    suite: Suite,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Score the runs with the suite's metrics; returns how many values were made now.

    `cache` keeps the features of images and the statistics of reference images (default: `<results>/cache`). A value
    that cannot be computed is a NaN row with the reason. A metric that cannot be loaded does not stop the others; when
    they are done the error is raised: MissingError, or UsageError where the metric's settings are wrong.
    """
    progress = progress or Silent()
    ensure_metrics()
    with lock_runs(stores), reading() as reader:
        targets = [target_of(store) for store in stores]
        scopes, failures = _scopes(suite)
        names = _to_do(targets, scopes)
        made = 0
        if names:
            folder = cache or targets[0].store.path.parents[2] / "cache"
            clean_leftovers(folder)
            tools = Tools(reader, FeatureCache(folder / "features"))
            tools.cache.prune()
            made = _score_all(_Job(targets, scopes, suite, folder, tools, progress, failures), names, device)
        for target in targets:
            _tell_faults(target)
            _note_cards(target.store, scopes, suite)
    if failures:
        raise failed(failures, "The other metrics are scored" if len(suite.metrics) > len(failures) else "")
    return made


def to_do(stores: Sequence[RunStore], suite: Suite) -> list[str]:
    """The metrics that have something to score in the runs, as far as is known without loading them."""
    return _to_do([target_of(store) for store in stores], _scopes(suite)[0])


def _to_do(targets: Sequence[Target], scopes: Mapping[str, Scope]) -> list[str]:
    return [
        name
        for name, scope in scopes.items()
        if cards_differ(targets, name) or any(find_missing(target, name, scope.digest).size for target in targets)
    ]


def _scopes(suite: Suite) -> tuple[dict[str, Scope], Failures]:
    scopes: dict[str, Scope] = {}
    failures: Failures = {}
    for name, spec in suite.metrics.items():
        try:
            scopes[name] = scope_of(name, spec, suite)
        except (BenchError, metrics.MetricError) as error:
            failures[name] = error
    return scopes, failures


def _score_all(job: _Job, names: Sequence[str], device: str) -> int:
    """Load the metrics, as many at a time as memory allows, and score all runs with each group."""
    models = Models(names, job.suite, device)
    made, started = 0, False
    try:
        for group in models.groups():
            work = [(target, _scorers(job, target, group)) for target in job.targets]
            if not started:  # what waits for its turn is counted by what is known without loading it
                now = sum(scorer.missing.size for _, scorers in work for scorer in scorers)
                job.progress.start("score", now + sum(_size(job, name) for name in models.waiting))
                started = True
            if models.waiting:
                job.tools.reader.keep(KEEP_BYTES)
            for target, scorers in work:
                if scorers:
                    made += _score_run(job, target, scorers)
            del work, scorers, group  # the next group is loaded when nothing holds this one
    finally:
        job.failures.update(models.failures)
        if started:
            job.progress.finish()
    return made


def _size(job: _Job, name: str) -> int:
    return sum(find_missing(target, name, job.scopes[name].digest).size for target in job.targets)


def _scorers(job: _Job, target: Target, group: Mapping[str, Any]) -> list[Scorer]:
    found = []
    for name, metric in group.items():
        scope = scope_of(name, job.suite.metrics[name], job.suite)  # what was fetched by now has a commit
        card = metric.card.to_dict() | {"scope": scope.digest, "asked": dict(scope.asked)}
        missing = find_missing(target, name, scope.digest, card)
        if missing.size:
            found.append(Scorer(name, metric, card, target, missing, job.suite.reference, job.cache, job.tools))
    return found


def _score_run(job: _Job, target: Target, scorers: Sequence[Scorer]) -> int:
    began, made = time.perf_counter(), 0
    try:
        for scorer in scorers:
            scorer.begin()
        for chunk in _chunks_ahead(job, target, scorers):
            for scorer in scorers:
                made += _step(job, scorer, partial(scorer.take, chunk))
        for scorer in scorers:
            made += _step(job, scorer, scorer.finish)
    finally:
        for scorer in scorers:  # interrupted: keep what was made
            scorer.record()
        _add_seconds(target.store, time.perf_counter() - began)
    return made


def _step(job: _Job, scorer: Scorer, work: Callable[[], int]) -> int:
    """The number of values that a part of a metric's work made; 0 where the metric failed, now or before."""
    if scorer.name in job.failures:
        return 0
    from metrics.base.precision import products_of  # loads torch, which is loaded by now

    try:
        with products_of(scorer.metric.card):
            count = work()
    except BenchError as error:
        job.failures[scorer.name] = error
        return 0
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        job.failures[scorer.name] = too_little_memory(str(getattr(scorer.metric, "device", "this machine")))
        return 0
    job.progress.advance(count)
    return count


def _chunks_ahead(job: _Job, target: Target, scorers: Sequence[Scorer]) -> Iterator[Chunk]:
    """The run's chunks that some metric needs, the images of the next being read while one is scored."""
    wanted = [scorer.preprocessing for scorer in scorers]
    shared = frozenset(name for name in wanted if name is not None and wanted.count(name) > 1)
    ahead: Chunk | None = None
    for prompt_ids in chunks(target):
        chunk = Chunk(target, prompt_ids, job.tools, shared)
        needed = {key for scorer in scorers for key in scorer.wanted(chunk)}
        if not needed:
            continue
        chunk.read_ahead({key for scorer in scorers for key in scorer.pixels(chunk)}, needed)
        if ahead is not None:
            yield ahead
        ahead = chunk
    if ahead is not None:
        yield ahead


def _tell_faults(target: Target) -> None:
    """Name the images that no metric could use, and what has no value for them."""
    if not target.faults:
        return
    shown = [f"{key[0]}/{key[1]}.png: {why}" for key, why in list(target.faults.items())[:3]]
    more = len(target.faults) - len(shown)
    listed = "; ".join(shown) + (f"; and {more} more" if more else "")
    what = "1 image cannot" if len(target.faults) == 1 else f"{len(target.faults)} images cannot"
    logger.warning(
        f"{target.store.name}: {what} be used, so that groups and sets with such an image have no value ({listed})"
    )


def _add_seconds(store: RunStore, seconds: float) -> None:
    manifest = store.manifest()
    manifest.timings["score_seconds"] = float(manifest.timings.get("score_seconds") or 0.0) + seconds
    store.write_manifest(manifest)


def _note_cards(store: RunStore, names: Iterable[str], suite: Suite) -> None:
    """The manifest repeats the identity cards of the scored metrics, and who saw the reference; only if one changed."""
    manifest = store.manifest()
    cards = dict(manifest.cards)
    for name in names:
        card = store.score_card(name)
        if card is not None:
            cards[name] = card
    kept = manifest.notes | {name: list(card["notes"]) for name, card in cards.items() if card.get("notes")}
    notes = with_leakage(kept, list(cards), suite.reference, manifest.resolved_method)
    for sentence in (one for name in notes for one in notes[name] if one not in manifest.notes.get(name, ())):
        logger.warning(sentence, extra=ONCE)
    if (cards, notes) != (manifest.cards, manifest.notes):
        manifest.cards, manifest.notes = cards, notes
        store.write_manifest(manifest)
