"""The engine of clusters with workers in this process, which die at random: what is made is what one process makes."""

from __future__ import annotations

import logging
import random
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.engines import ray
from bench.engines.dispatch import WorkerDied
from bench.engines.local import LOCAL
from bench.engines.worker import Making, Setup, Worker
from bench.errors import MissingError, UsageError
from bench.pipeline import rescore
from bench.pipeline import run as pipeline
from bench.store.run_store import RunStore, find_runs
from bench.suite.schema import Suite
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.small_runs import found, small_suite, write_weights

METHODS = ["base", "combined"]


class InProcess:
    """Two workers; `deaths` of them at random, before they did their task or after."""

    deaths, seed = 0, 0
    died: list[str]

    def __init__(self, options: Any, device: str) -> None:
        self.size = 2
        self._chance = random.Random(self.seed)
        self._workers = [Worker(Setup()) for _ in range(self.size)]
        self._queues: list[list[tuple[int, tuple[Any, ...]]]] = [[] for _ in range(self.size)]
        self._making: Making | None = None
        self._told: dict[str, tuple[Any, ...]] = {}
        self._number = 0

    def prepare(self, making: Making) -> list[Any]:
        self._making = making
        return [worker.do("prepare", making).result() for worker in self._workers]

    def tell(self, kind: str, *arguments: Any) -> None:
        self._told[kind] = arguments

    def ask(self, worker: int, task: str, *arguments: Any) -> Any:
        if task == "finish":  # the real one borrows the lock of the process that asks
            suite, device, folders = arguments
            return LOCAL.score([RunStore(folder) for folder in folders], suite, device, None)
        return self._workers[worker].do(task, *arguments).result()

    def submit(self, worker: int, kind: str, units: Sequence[Any]) -> Hashable:
        self._number += 1
        self._queues[worker].append((self._number, (kind, *self._told.get(kind, ()), list(units))))
        return self._number

    def wait(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        return [self._chance.choice([queue[0][0] for queue in self._queues if queue])]

    def answer(self, ticket: Hashable) -> Any:
        (worker,) = [worker for worker, queue in enumerate(self._queues) if queue and queue[0][0] == ticket]
        _, task = self._queues[worker].pop(0)
        when = self._chance.choice(["before", "after", "not", "not"]) if InProcess.deaths else "not"
        if when == "before":
            self._die(task[0])
        reply = self._workers[worker].do(*task)
        if when == "after":
            self._die(task[0])
        return reply.result()

    def _die(self, kind: str) -> None:
        InProcess.deaths -= 1
        InProcess.died.append(kind)
        raise WorkerDied("killed")

    def replace(self, worker: int) -> None:
        self._queues[worker] = []
        self._workers[worker] = Worker(Setup())
        if self._making is not None:
            self._workers[worker].do("prepare", self._making)

    def close(self) -> None:
        self._workers.clear()


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers listen to the loggers of their process."""
    fake_metrics.install()
    monkeypatch.setattr(ray, "Cluster", InProcess)
    monkeypatch.setattr("bench.scoring.chunking.CHUNK", 2)
    monkeypatch.setattr(InProcess, "died", [], raising=False)
    loggers = [logging.getLogger(name) for name in ("bench", "metrics")]
    before = [(one, one.level, one.propagate, list(one.handlers)) for one in loggers]
    yield
    for one, level, propagate, handlers in before:
        one.setLevel(level)
        one.propagate = propagate
        one.handlers[:] = handlers


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def suite(weights: Path, tmp_path: Path) -> Suite:
    return small_suite(weights, tmp_path)


def test_a_worker_that_was_begun_elsewhere_works_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    Worker(Setup(folder=str(tmp_path)))
    assert Path.cwd() == tmp_path
    Worker(Setup(folder=str(tmp_path / "not on this machine")))
    assert Path.cwd() == tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("deaths", "seed"), [(0, 0), (3, 1)])
def test_a_run_by_workers_that_die_is_the_run_of_one_process(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, seed: int
) -> None:
    pipeline.run(suite, METHODS, results=tmp_path / "one", batch_size=2)
    monkeypatch.setattr(InProcess, "deaths", deaths)
    monkeypatch.setattr(InProcess, "seed", seed)
    pipeline.run(suite, METHODS, results=tmp_path / "many", batch_size=2, engine="ray")
    assert found(tmp_path / "many") == found(tmp_path / "one")
    assert len(InProcess.died) == deaths
    one, many = ({store.name: store.manifest() for store in find_runs(tmp_path / name)} for name in ("one", "many"))
    for name, manifest in many.items():
        assert manifest.batches == one[name].batches
        assert manifest.counts["images_generated"] == one[name].counts["images_generated"] == 6
        assert manifest.cards == one[name].cards
        assert manifest.notes == one[name].notes


@pytest.mark.slow
def test_scores_by_workers_are_those_of_one_process(suite: Suite, tmp_path: Path) -> None:
    for name in ("one", "many"):
        pipeline.run(suite.override(metrics=["fake_group"]), METHODS, results=tmp_path / name, batch_size=2)
        names = [store.name for store in find_runs(tmp_path / name)]
        rescore.score(names, suite=suite, results=tmp_path / name, engine="ray" if name == "many" else "local")
    assert found(tmp_path / "many") == found(tmp_path / "one")


@pytest.mark.slow
def test_what_is_not_scored_in_pieces_is_left_to_a_worker(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = InProcess.ask

    def watching(self: InProcess, worker: int, task: str, *arguments: Any) -> Any:
        asked.append(task)
        return ask(self, worker, task, *arguments)

    monkeypatch.setattr(InProcess, "ask", watching)
    (store,) = pipeline.run(suite.override(metrics=["fake_group"]), ["base"], results=tmp_path, batch_size=2)
    monkeypatch.setattr("bench.scoring.piece.is_official", lambda name: True)
    for _ in range(2):  # the second time nothing is missing, and no cluster begins
        rescore.score([store.name], suite=suite, results=tmp_path, engine="ray")
        assert asked == ["finish"]
    assert store.score_metrics() == ["fake_group", "fake_image", "fake_set"]


@pytest.mark.slow
def test_the_driver_needs_no_gpu(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    devices: list[str] = []

    class Seen(Exception):
        pass

    def begin(options: Any, device: str) -> Any:
        devices.append(device)
        raise Seen

    monkeypatch.setattr(ray, "Cluster", begin)
    with pytest.raises(Seen):
        pipeline.run(suite, ["base"], results=tmp_path / "new", device="cuda", engine="ray")
    (store,) = pipeline.run(suite.override(metrics=["fake_group"]), ["base"], results=tmp_path, device="cpu")
    with pytest.raises(Seen):
        rescore.score([store.name], suite=suite, results=tmp_path, device="cuda", engine="ray")
    assert devices == ["cuda", "cuda"]
    with pytest.raises(UsageError, match="device 'cuba' is unknown"):
        pipeline.run(suite, ["base"], results=tmp_path, device="cuba", engine="ray")
    with pytest.raises(MissingError, match="device 'cuda' is not available on this machine"):
        pipeline.run(suite, ["base"], results=tmp_path, device="cuda")


@pytest.mark.slow
def test_resume_never_makes_the_run_anew_and_a_second_call_makes_nothing(suite: Suite, tmp_path: Path) -> None:
    (store,) = pipeline.run(suite, ["base"], results=tmp_path, batch_size=2, engine="ray")
    before = found(tmp_path)
    (kept,) = store.path.glob("images/p1/0.png")
    inode = kept.stat().st_ino
    pipeline.run(suite, ["base"], results=tmp_path, batch_size=2, engine="ray", resume="never")
    assert found(tmp_path) == before
    assert kept.stat().st_ino != inode


def test_a_worker_with_other_weights_is_refused(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = InProcess.prepare

    def elsewhere(self: InProcess, making: Making) -> list[Any]:
        making.digests[next(iter(making.digests))] = "ab" * 32
        return prepare(self, making)

    monkeypatch.setattr(InProcess, "prepare", elsewhere)
    told = r"pipeline has other content here \(digest [0-9a-f]{16}\) than where the run was started \(worker on "
    with pytest.raises(MissingError, match=told):
        pipeline.run(suite, ["base"], results=tmp_path, engine="ray")
