"""Images -> score rows. Only what is missing is scored; a metric is loaded once for all runs, an image read once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError, MissingError, UsageError
from bench.files import image_fault
from bench.progress import Progress, Silent
from bench.registry import ensure_metrics
from bench.scoring.todo import Target, Todo, find_todo, scope_of, target_of
from bench.scoring.worker import Scorer
from bench.store import RunStore, lock_runs
from bench.weights import resolve

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.suite import Suite

CHUNK = 64
"""Images that are decoded at a time, or one prompt's where those are more."""

Failures = dict[str, Exception]


def score(
    stores: Sequence[RunStore],
    suite: Suite,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Score the runs with the suite's metrics; returns how many values were made now.

    `cache` keeps the statistics of reference images (default: `<results>/cache`). A value that cannot be computed is
    a NaN row with the reason. A metric that cannot be loaded does not stop the others; when they are done the error
    is raised: MissingError, or UsageError where the metric's settings are wrong.
    """
    progress = progress or Silent()
    ensure_metrics()
    with lock_runs(stores):
        targets = [target_of(store) for store in stores]
        scopes, failures = _scopes(suite)
        open_metrics = [
            name for name in scopes if any(find_todo(target, name, scopes[name]).size for target in targets)
        ]
        made = 0
        if open_metrics:
            loaded = _load(open_metrics, suite, device, failures)
            made = _score_all(targets, loaded, scopes, suite, cache, progress)
        for target in targets:
            _note_cards(target.store, scopes)
    if failures:
        raise _failed(failures)
    return made


def _scopes(suite: Suite) -> tuple[dict[str, str], Failures]:
    scopes: dict[str, str] = {}
    failures: Failures = {}
    for name, spec in suite.metrics.items():
        try:
            scopes[name] = scope_of(name, spec, suite)
        except (BenchError, metrics.MetricError) as error:
            failures[name] = error
    return scopes, failures


def _load(names: Sequence[str], suite: Suite, device: str, failures: Failures) -> dict[str, Any]:
    from bench.devices import prepare_torch

    place = prepare_torch(device)
    loaded: dict[str, Any] = {}
    for name in names:
        spec = suite.metrics[name]
        try:
            weights = None if spec.weights is None else resolve(spec.weights)
            loaded[name] = metrics.load(name, weights=weights, device=place, label=suite.label, **spec.options)
        except (BenchError, metrics.MetricError) as error:
            failures[name] = error
    return loaded


def _score_all(
    targets: Sequence[Target],
    loaded: Mapping[str, Any],
    scopes: Mapping[str, str],
    suite: Suite,
    cache: Path | None,
    progress: Progress,
) -> int:
    cards = {name: metric.card.to_dict() | {"scope": scopes[name]} for name, metric in loaded.items()}
    work: list[tuple[Target, dict[str, Todo]]] = []
    for target in targets:
        todos = {name: find_todo(target, name, scopes[name], cards[name]) for name in loaded}
        work.append((target, {name: todo for name, todo in todos.items() if todo.size}))
    made = 0
    progress.start("score", sum(todo.size for _, todos in work for todo in todos.values()))
    try:
        for target, todos in work:
            folder = cache or target.store.path.parents[2] / "cache"
            scorers = [
                Scorer(name, loaded[name], cards[name], target, todo, suite.reference, folder)
                for name, todo in todos.items()
            ]
            if scorers:
                made += _score_run(target, scorers, progress)
    finally:
        progress.finish()
    return made


def _score_run(target: Target, scorers: Sequence[Scorer], progress: Progress) -> int:
    began, made = time.perf_counter(), 0
    try:
        for prompt_ids in _chunks(target, scorers):
            pictures = _decode(target, prompt_ids)
            for scorer in scorers:
                count = scorer.take(prompt_ids, pictures)
                made += count
                progress.advance(count)
        for scorer in scorers:
            count = scorer.finish()
            made += count
            progress.advance(count)
    finally:
        for scorer in scorers:  # interrupted: keep what was made
            scorer.record()
        _add_seconds(target.store, time.perf_counter() - began)
    return made


def _chunks(target: Target, scorers: Sequence[Scorer]) -> Iterator[list[str]]:
    """Prompts whose images some metric needs, as many at a time as have about `CHUNK` images."""
    everything = any(scorer.todo.whole for scorer in scorers)
    needed = {prompt_id for scorer in scorers for prompt_id in scorer.todo.prompts}
    needed |= {prompt_id for scorer in scorers for prompt_id, _ in scorer.todo.images}
    chunk: list[str] = []
    images = 0
    for prompt_id, rows in target.images.items():
        if not (everything or prompt_id in needed):
            continue
        if chunk and images + len(rows) > CHUNK:
            yield chunk
            chunk, images = [], 0
        chunk.append(prompt_id)
        images += len(rows)
    if chunk:
        yield chunk


def _decode(target: Target, prompt_ids: Sequence[str]) -> dict[tuple[str, int], Image | str]:
    rows = [row for prompt_id in prompt_ids for row in target.images[prompt_id]]
    return {row.key: _read(target.store.path / row.path, row.sha256) for row in rows}


def _read(path: Path, sha256: str) -> Image | str:
    from PIL import Image

    fault = image_fault(path, sha256)
    if fault is not None:
        return fault
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened.copy()
    except (OSError, ValueError, SyntaxError) as error:
        return f"it cannot be decoded ({error})"


def _add_seconds(store: RunStore, seconds: float) -> None:
    manifest = store.manifest()
    manifest.timings["score_seconds"] = float(manifest.timings.get("score_seconds") or 0.0) + seconds
    store.write_manifest(manifest)


def _note_cards(store: RunStore, scopes: Mapping[str, str]) -> None:
    """The manifest repeats the identity cards of the scored metrics, written only if one changed."""
    manifest = store.manifest()
    cards = dict(manifest.cards)
    for name in scopes:
        card = store.score_card(name)
        if card is not None:
            cards[name] = card
    if cards != manifest.cards:
        manifest.cards = cards
        store.write_manifest(manifest)


def _failed(failures: Failures) -> BenchError:
    """One error for all metrics that could not be loaded; missing things are said before wrong settings."""
    sentences = [f"metric '{name}' could not be scored: {str(error).rstrip('.')}" for name, error in failures.items()]
    codes = {int(getattr(error, "exit_code", 2)) for error in failures.values()}
    kind = MissingError if 4 in codes else UsageError
    return kind("; ".join(sentences) + ". The other metrics are scored.")
