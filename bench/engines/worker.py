"""What a worker process of a cluster does: it holds the model of the runs or their metrics, and answers tasks.

Images go to the results folder, which all machines share; only names, digests and values travel.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, MissingError, NotComparableError, UsageError
from bench.registry.plugins import load_plugins

if TYPE_CHECKING:
    from bench.generation.loaded import Loaded, Settings
    from bench.generation.part import Made
    from bench.sampling.batches import Work
    from bench.scoring.piece import Piece, Pieces, Scored
    from bench.suite.plan import RunPlan
    from bench.suite.schema import Suite

_ERRORS: dict[str, type[BenchError]] = {one.__name__: one for one in (UsageError, MissingError, NotComparableError)}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a worker is set up before it loads anything. `threads`: of torch; None where the environment says it.

    `folder`: where the command was given, which relative paths are meant from (results, weights, references).
    """

    plugins: Sequence[str] = ()
    threads: int | None = None
    hide_gpus: bool = False
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Making:
    """The images that are to be made: the runs of `plans` lie in `folders`; `digests` are those of all weights."""

    plans: Sequence[RunPlan]
    folders: Sequence[tuple[Path, str]]
    suite: Suite
    settings: Settings
    digests: dict[str, str]


@dataclass(slots=True)
class Reply:
    """The answer to a task: what came of it, or the user's mistake that ended it, and what was logged meanwhile."""

    value: Any = None
    error: tuple[str, str, dict[str, str]] | None = None
    messages: list[tuple[int, str]] = field(default_factory=list)

    def result(self) -> Any:
        """The value; raises the error as its own kind."""
        if self.error is None:
            return self.value
        kind, text, failures = self.error
        found = _ERRORS.get(kind, UsageError)(text)
        found.failures = failures
        raise found


class Worker:
    """One process of a cluster."""

    def __init__(self, setup: Setup) -> None:
        if setup.hide_gpus:  # a process that was given none would see them all, and use the first as all others do
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if setup.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(setup.threads)
        if setup.folder:
            with contextlib.suppress(OSError):  # not on this machine: paths that all machines share are absolute then
                os.chdir(setup.folder)  # a cluster that was there before was begun elsewhere
        self._heard = _Heard()
        self._plugins = setup.plugins
        with contextlib.suppress(BenchError):  # before a task that needs them is read; `do` says what is wrong
            load_plugins(setup.plugins)
        self._making: Making | None = None
        self._loaded: Loaded | None = None
        self._scoring: tuple[str, Pieces] | None = None
        self._reading = contextlib.ExitStack()
        self._refused = ""  # why it cannot make the images that it was told of

    def do(self, task: str, *arguments: Any) -> Reply:
        """Answer a task, which is the name of a method. What is not the user's mistake is raised."""
        try:
            load_plugins(self._plugins)
            value = getattr(self, task)(*arguments)
        except BenchError as error:
            told = type(error).__name__, f"{error} (worker on {socket.gethostname()})", dict(error.failures)
            self._refused = told[1] if task == "prepare" else self._refused
            return Reply(error=told, messages=self._heard.taken())
        return Reply(value, messages=self._heard.taken())

    def prepare(self, making: Making) -> list[dict[str, Any]]:
        """Load the model of the runs; returns where it is, and the packages (`provenance`), of each plan."""
        from bench.models.weights import digest_of

        for path, _ in making.folders:
            if not (path / "manifest.json").is_file():
                raise MissingError(f"{path} cannot be seen: give --results a folder that all machines share")
        for name, digest in making.digests.items():
            if (found := digest_of(name)) != digest:
                raise MissingError(
                    f"{name} has other content here (digest {found[:16]}) than where the run was started"
                )
        self._making = making
        return self._model().facts()

    def fitting_size(self) -> int:
        """How many images fit the device at a time."""
        return self._model().fitting_size()

    def make(self, at_a_time: int, work: Sequence[Work]) -> dict[str, Made]:
        """Make batches; returns what was made of each run, by the names of the plans."""
        from bench.generation.part import Part
        from bench.runtime.progress import Silent
        from bench.store.shared_store import SharedRunStore

        model, making = self._model(), self._making
        assert making is not None  # `_model` raises
        model.at_a_time = min(model.at_a_time or at_a_time, at_a_time)
        parts = {
            plan.name: Part(plan, SharedRunStore(path, name))
            for plan, (path, name) in zip(making.plans, making.folders, strict=True)
        }
        model.make(work, parts, Silent())
        return {name: part.taken() for name, part in parts.items()}

    def score(self, suite: Suite, device: str, pieces: Sequence[Piece]) -> list[Scored]:
        """Score pieces of runs with the metrics that fit the memory together."""
        loaded = self._metrics(suite, device, pieces[0].run.parents[2] / "cache")
        return [scored for piece in pieces for scored in loaded.score(piece)]

    def finish(self, suite: Suite, device: str, folders: Sequence[Path]) -> int:
        """Score what is left of whole runs, which the process that asks holds; returns the number of values."""
        from bench.scoring.score import score
        from bench.store.locks import lend
        from bench.store.run_store import RunStore

        self._drop()
        for folder in folders:
            lend(folder)
        return score([RunStore(folder) for folder in folders], suite, device=device)

    def _model(self) -> Loaded:
        from bench.generation.loaded import Loaded

        if self._loaded is None:
            if self._making is None:
                raise MissingError(self._refused or "a worker was asked for images before it was told of which runs")
            self._drop()
            self._loaded = Loaded(self._making.plans, self._making.suite, self._making.settings)
        return self._loaded

    def _metrics(self, suite: Suite, device: str, cache: Path) -> Pieces:
        from bench.registry.metrics import ensure_metrics
        from bench.scoring.chunk import Tools
        from bench.scoring.feature_cache import FeatureCache
        from bench.scoring.memory import Models
        from bench.scoring.piece import Pieces
        from bench.scoring.reader import reading

        key = f"{suite.model_dump_json()}\n{device}\n{cache}"
        if self._scoring is None or self._scoring[0] != key:
            self._drop()
            ensure_metrics()
            group = next(Models(list(suite.metrics), suite, device).groups(), {})
            tools = Tools(self._reading.enter_context(reading()), FeatureCache(cache / "features"))
            self._scoring = key, Pieces(dict(group), suite, cache, tools)
        return self._scoring[1]

    def _drop(self) -> None:
        """Let go of the model and of metrics: a device has room for one of the two."""
        from bench.scoring.memory import release

        if self._loaded is not None or self._scoring is not None:
            self._loaded = self._scoring = None
            self._reading.close()
            release()


class _Heard(logging.Handler):
    """Keeps what is logged, for the process that asks."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: list[tuple[int, str]] = []
        for name in ("bench", "metrics"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.INFO)
            logger.propagate = False
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._kept.append((record.levelno, record.getMessage()))

    def taken(self) -> list[tuple[int, str]]:
        """The messages since the last time."""
        kept, self._kept = self._kept, []
        return kept
