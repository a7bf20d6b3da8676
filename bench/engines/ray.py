"""Generates and scores on the workers of a Ray cluster.

The process that asks opens the runs, hands out batches and pieces of scoring, and records what comes of them; workers
write images to the results folder, and answer with names, digests and values. All workers generate first; who finds no
batch left scores what is whole by then, while the others finish, so that none holds the model and the metrics at once.
Metrics that do not fit the memory beside the first ones, and what looks at a whole run (set metrics, the official
protocol), are scored last, by one of them while the others are idle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.engines.cluster import Cluster
from bench.engines.dispatch import Dispatcher
from bench.engines.local import LOCAL
from bench.engines.options import EngineOptions
from bench.engines.worker import Making
from bench.runtime.log import get_logger
from bench.runtime.progress import Progress, Silent
from bench.runtime.share import Share

if TYPE_CHECKING:
    from bench.generation.loaded import Settings
    from bench.generation.recording import Run
    from bench.scoring.piece import Piece
    from bench.store.run_store import RunStore
    from bench.suite.plan import RunPlan
    from bench.suite.schema import Suite

logger = get_logger(__name__)
MAKE, SCORE = "make", "score"
SECONDS_BETWEEN_LOOKS = 10.0
"""For pieces that became whole; more where a look takes more than a second."""


class RayEngine:
    """As `bench.engines.engine.Engine` says. `scoring`: the suite of the metrics that will be asked for, if any."""

    def __init__(self, options: EngineOptions, scoring: Suite | None = None) -> None:
        self._options = options
        self._scoring = scoring
        self._cluster: Cluster | None = None

    def generate(
        self,
        plans: Sequence[RunPlan],
        suite: Suite,
        stores: Sequence[RunStore],
        settings: Settings,
        progress: Progress | None,
    ) -> int:
        """`bench.generation.generate`, with the workers in the place of this process."""
        from bench.generation.generate import generate

        return generate(plans, suite, stores, settings, progress, make=self._make)

    def _make(self, runs: Sequence[Run], suite: Suite, settings: Settings, *, progress: Progress) -> None:
        from bench.generation.generate import fix_sizes, note_facts, recording, work_of
        from bench.models.weights import digest_of
        from bench.suite.plan import weights_names

        for run in runs:
            run.clear()
        cluster = self._at(settings.device)
        names = weights_names(suite, [run.plan.method for run in runs])
        folders = [(run.store.path.absolute(), run.store.name) for run in runs]
        digests = {name: digest_of(name) for name in names}
        facts = cluster.prepare(Making([run.plan for run in runs], folders, suite, settings, digests))
        _compare(facts)
        note_facts(runs, facts[0])
        cluster.tell(MAKE, fix_sizes(runs, partial(cluster.ask, 0, "fitting_size"), settings))
        progress.start("generate", sum(run.n_missing for run in runs))
        try:
            with recording(runs):
                self._hand_out(cluster, runs, work_of(runs), settings, progress)
        finally:
            progress.finish()

    def _hand_out(
        self, cluster: Cluster, runs: Sequence[Run], work: Sequence[Any], settings: Settings, progress: Progress
    ) -> None:
        from bench.generation.part import merge
        from bench.generation.recording import SECONDS_BETWEEN_PARTS
        from bench.scoring.piece import Records

        by_name, dispatcher = {run.plan.name: run for run in runs}, Dispatcher(cluster)
        records, ahead = Records(run.store for run in runs), _Ahead(runs, self._scoring)
        if self._scoring is not None:
            cluster.tell(SCORE, self._scoring, settings.device)

        def take(kind: str, units: Sequence[Any], answer: Any) -> None:
            if kind == SCORE:
                records.add(answer)
                return
            for name, made in answer.items():
                merge(by_name[name], made)
                by_name[name].record(SECONDS_BETWEEN_PARTS)
                progress.advance(len(made.rows))
            if dispatcher.idle and dispatcher.left(MAKE):
                dispatcher.add(SCORE, ahead.pieces())

        dispatcher.add(MAKE, work)
        try:
            dispatcher.run(take, until=lambda: not dispatcher.left(MAKE) and not dispatcher.left(SCORE))
        finally:
            records.record()

    def score(self, stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
        """Pieces by all workers, then `bench.scoring.score` by one of them; here, if nothing is missing."""
        from bench.registry.metrics import ensure_metrics
        from bench.scoring.score import to_do

        ensure_metrics()
        progress = progress or Silent()
        pieces = [piece for store in stores for piece in _pieces(store, suite)]
        if not pieces and not to_do(stores, suite):
            return LOCAL.score(stores, suite, device, progress)
        cluster = self._at(device)
        cluster.tell(SCORE, suite, device)
        made = _score_pieces(cluster, stores, pieces, progress) if pieces else 0
        return made + int(cluster.ask(0, "finish", suite, device, [store.path.absolute() for store in stores]))

    def _at(self, device: str) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._options, device)
        return self._cluster

    def close(self) -> None:
        """End the workers."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None


class _Ahead:
    """Pieces of scoring whose images are all there while others are still made; each is given once."""

    def __init__(self, runs: Sequence[Run], scoring: Suite | None) -> None:
        self._runs = runs
        self._scoring = scoring
        self._given: set[tuple[str, tuple[str, ...]]] = set()
        self._next = 0.0  # not again before: large runs take seconds to read

    def pieces(self) -> Iterator[Piece]:
        """Those that became whole since the last time; their images are recorded first."""
        began = time.monotonic()
        if self._scoring is None or began < self._next:
            return
        for run in self._runs:
            run.record()
            for piece in _pieces(run.store, self._scoring, self._scoring.resolution):
                if (key := (run.plan.name, piece.prompt_ids)) not in self._given:
                    self._given.add(key)
                    yield piece
        self._next = time.monotonic() + SECONDS_BETWEEN_LOOKS * (1 + time.monotonic() - began)


def _score_pieces(cluster: Cluster, stores: Sequence[RunStore], pieces: Sequence[Piece], progress: Progress) -> int:
    """Have pieces scored by all workers; returns the number of values."""
    from bench.scoring.piece import Records

    dispatcher, records, made = Dispatcher(cluster), Records(stores), 0

    def take(kind: str, units: Sequence[Any], answer: Any) -> None:
        nonlocal made
        count = records.add(answer)
        made += count
        progress.advance(count)

    dispatcher.add(SCORE, pieces)
    progress.start("score", sum(piece.size for piece in pieces))
    try:
        dispatcher.run(take, until=lambda: not dispatcher.left(SCORE))
    finally:
        records.record()
        progress.finish()
    return made


def _pieces(store: RunStore, suite: Suite, resolution: int | None = None) -> list[Piece]:
    from bench.scoring.shares import pieces_of_share

    return pieces_of_share(store, suite, Share(1, 1), resolution)


def _compare(facts: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Warn where workers are not of one kind: equal inputs may give other last bits."""
    for key in ("device", "packages", "platform"):
        found = {str(one[0].get(key)) for one in facts}
        if len(found) > 1:
            shown = "; ".join(sorted(found))[:300]
            logger.warning(f"workers differ in {key} ({shown}): last bits of images may depend on who makes them")
