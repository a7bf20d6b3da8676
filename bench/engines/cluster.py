"""The workers of a Ray cluster, as a pool of `bench.engines.dispatch`.

A worker is an actor that Ray neither restarts nor asks twice: what is done again, and how often, is said here, and that
nothing is made twice follows from the files (`bench.store.shared_store`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Hashable, Sequence
from typing import Any

from bench.engines.dispatch import WorkerDied
from bench.engines.options import EngineOptions, check_ray
from bench.engines.worker import Making, Reply, Setup, Worker
from bench.errors import MissingError, UsageError
from bench.formatting import one_line
from bench.registry.plugins import loaded_files
from bench.runtime.log import ONCE, get_logger
from bench.runtime.threads import available_cores, explain_threads

logger = get_logger(__name__)

STORE_BYTES = 80 << 20
"""Of Ray's store of objects on this machine: no picture goes through it."""
MOST_DEATHS = 3
"""Workers that die one after the other, none of which has answered anything."""
SECONDS_FOR_A_PLACE = 300.0


class Cluster:
    """So many workers on a Ray cluster, which is begun here unless an address is given."""

    def __init__(self, options: EngineOptions, device: str) -> None:
        check_ray()
        self._options = options
        self._begun = _connect(options.address)
        try:
            self._plan(device)
        except BaseException:
            self.close()
            raise
        self._making: Making | None = None
        self._deaths = 0
        self._actors: list[Any] = []
        self._prepared: list[Any] = []  # tickets
        self._tickets: dict[Any, int] = {}
        self._arguments: dict[str, tuple[Any, ...]] = {}

    def _plan(self, device: str) -> None:
        import ray

        if device.startswith("cuda:"):
            raise UsageError(f"--device {device} names a GPU of this machine: with --engine ray, use auto or cuda")
        there = ray.cluster_resources()
        nodes = max(1, sum(bool(node["Alive"]) for node in ray.nodes()))
        gpus = float(there.get("GPU", 0.0))
        wants = device == "auto" or device.startswith("cuda")
        each = self._options.gpus_per_worker
        self._gpus = float(wants and gpus > 0) if each is None else each
        self._n = self._options.workers or (int(gpus / self._gpus) if self._gpus else nodes)
        if self._n * self._gpus > gpus or self._n < 1:
            raise UsageError(
                f"{self._n} workers of {self._gpus:g} GPUs need {self._n * self._gpus:g}, but the cluster has "
                f"{gpus:g}: lower --workers or --gpus-per-worker"
            )
        on_a_node = -(-self._n // nodes)
        cores = available_cores() if nodes == 1 else int(there.get("CPU", 1)) // nodes
        threads = explain_threads().count if "OMP_NUM_THREADS" in os.environ else max(1, cores // on_a_node)
        hidden = self._gpus == 0 and not device.startswith("cuda")
        self._setup = Setup(loaded_files(), threads, hide_gpus=hidden, folder=os.getcwd())
        shown = f"{self._gpus:g} GPU, " if self._gpus else ""
        logger.info(f"Ray: {self._n} workers ({shown}threads {threads}) on {nodes} machine{'s' * (nodes > 1)}")

    @property
    def size(self) -> int:
        """Number of workers."""
        return self._n

    def prepare(self, making: Making) -> list[Any]:
        """Have all workers load the model of runs; returns what each says of where it is. Nothing begins before."""
        self._making = making
        self._start()
        found: list[Any] = []
        for worker in range(self._n):
            while len(found) <= worker:
                try:
                    found.append(self._answer(self._prepared[worker], SECONDS_FOR_A_PLACE))
                except WorkerDied as death:
                    logger.warning(f"a worker died while it loaded ({death}); another one takes its place")
                    self.replace(worker, str(death))
        self._deaths = 0
        return found

    def _start(self) -> None:
        while len(self._actors) < self._n:
            self._actors.append(self._actor())
        if self._making is not None:  # all at once
            self._prepared = [actor.do.remote("prepare", self._making) for actor in self._actors]

    def ask(self, worker: int, task: str, *arguments: Any) -> Any:
        """A task for one worker, and its answer: of the one in its place, if it dies. Raises BenchError."""
        if not self._actors:
            self._start()
        while True:
            try:
                return self._answer(self._actors[worker].do.remote(task, *arguments), SECONDS_FOR_A_PLACE)
            except WorkerDied as death:
                logger.warning(f"a worker died ({death}); another one takes its place")
                self.replace(worker, str(death))

    def tell(self, kind: str, *arguments: Any) -> None:
        """What tasks of a kind are given before their units."""
        self._arguments[kind] = arguments

    def submit(self, worker: int, kind: str, units: Sequence[Any]) -> Hashable:
        """As `bench.engines.dispatch.Pool`."""
        if not self._actors:
            self._start()
        ticket = self._actors[worker].do.remote(kind, *self._arguments.get(kind, ()), list(units))
        self._tickets[ticket] = worker
        return ticket  # type: ignore[no-any-return]

    def wait(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        """As `bench.engines.dispatch.Pool`."""
        import ray

        done, rest = ray.wait(list(tickets), num_returns=1, timeout=1.0)
        if done and rest:
            more, _ = ray.wait(rest, num_returns=len(rest), timeout=0)
            done += more
        return list(done)

    def answer(self, ticket: Hashable) -> Any:
        """As `bench.engines.dispatch.Pool`."""
        self._tickets.pop(ticket, None)
        found = self._answer(ticket)
        self._deaths = 0
        return found

    def _answer(self, ticket: Any, place_within: float | None = None) -> Any:
        import ray

        try:
            if place_within is not None:
                self._place(ticket, place_within)
            reply: Reply = ray.get(ticket)
        except ray.exceptions.RayTaskError as error:  # not the user's mistake: with its own traceback
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise WorkerDied(_why(error)) from None
        for level, text in reply.messages:
            logger.log(level, text, extra=ONCE)
        return reply.result()

    def _place(self, ticket: Any, seconds: float) -> None:
        """Wait for an answer, and say it once if it takes as long as no worker needs to begin."""
        import ray

        done, _ = ray.wait([ticket], num_returns=1, timeout=seconds)
        if not done:
            logger.warning(
                f"a worker has not answered for {seconds:.0f} s: the cluster may have no room for it (ray status)"
            )

    def replace(self, worker: int, why: str = "") -> None:
        """As `bench.engines.dispatch.Pool`. Raises MissingError where one after the other dies."""
        import ray

        self._deaths += 1
        if self._deaths > MOST_DEATHS * self._n:
            raise MissingError(
                f"{self._deaths} workers died one after the other and none did anything"
                f"{f' ({why})' if why else ''}: see the logs of Ray (ray logs), and give workers more memory"
            )
        with contextlib.suppress(Exception):
            ray.kill(self._actors[worker])
        self._actors[worker] = self._actor()
        if self._making is not None:
            self._prepared[worker] = self._actors[worker].do.remote("prepare", self._making)

    def _actor(self) -> Any:
        import ray

        made = ray.remote(Worker).options(
            num_cpus=0,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        return made.remote(self._setup)

    def close(self) -> None:
        """End the workers, and the cluster where it was begun here."""
        import ray

        for actor in getattr(self, "_actors", ()):
            with contextlib.suppress(Exception):
                ray.kill(actor)
        if self._begun:
            ray.shutdown()


def _connect(address: str | None) -> bool:
    """Join a cluster, or begin one on this machine; whether that was done here (and not by the caller's program)."""
    import ray

    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE", "1")  # containers have a small /dev/shm
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    own = {"include_dashboard": False, "num_cpus": available_cores(), "object_store_memory": STORE_BYTES}
    try:
        ray.init(address=address or "local", **quiet, **({} if address else own))
    except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        how = (
            "start one with 'ray start --head', or omit --address; a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token here too, and the same ~/.ray/auth_token or RAY_AUTH_TOKEN"
            if address
            else "see the logs in /tmp/ray"
        )
        if isinstance(error, ray.exceptions.AuthenticationError):
            how = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token"
        raise MissingError(one_line(f"cannot reach {where} ({_first_line(error)}): {how}")) from None
    # Ray prints the deaths of workers to standard output, where tables and JSON go; they are told by `replace`.
    with contextlib.suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False
    return True


def _why(error: BaseException) -> str:
    """Ray's error as a clause."""
    reasons = [line.strip() for line in str(error).splitlines() if "reason" in line.lower() or "killed" in line.lower()]
    return one_line(reasons[0] if reasons else _first_line(error))[:200]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
