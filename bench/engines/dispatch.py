"""Hands tasks to workers as they come free. Nothing here knows what a task does, nor of Ray.

A task may be done more than once (a worker dies before its answer arrives): what comes of it must be the same each
time, and its answer is taken once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.errors import MissingError
from bench.formatting import counted
from bench.runtime.log import get_logger

logger = get_logger(__name__)

MOST_TRIES = 4
"""Of one task: what kills so many workers in turn would kill the next one too."""
LARGEST_TASK = 4
"""Units handed out together, while there are many."""


class WorkerDied(Exception):
    """A worker ended without an answer; the text says why, as far as that is known."""


class Pool(Protocol):
    """Workers that answer tasks, each in the order in which it was given them."""

    @property
    def size(self) -> int:
        """Number of workers."""

    def submit(self, worker: int, kind: str, units: Sequence[Any]) -> Hashable:
        """Give a task to a worker; returns what to ask for its answer by."""

    def wait(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        """The tickets that are answered; waits for at least one of them, or a moment."""

    def answer(self, ticket: Hashable) -> Any:
        """The answer. Raises WorkerDied, and what went wrong with the task itself."""

    def replace(self, worker: int) -> None:
        """Put a new worker in the place of one that died."""


@dataclass(slots=True)
class _Task:
    worker: int
    kind: str
    units: list[Any]


@dataclass(slots=True)
class Dispatcher:
    """Units of work by kind, on their way to the workers of a pool."""

    pool: Pool
    _waiting: dict[str, deque[Any]] = field(default_factory=dict)  # kinds that came first are handed out first
    _given: dict[Hashable, _Task] = field(default_factory=dict)  # in the order in which they were given
    _tries: dict[int, int] = field(default_factory=dict)  # of units whose worker died
    _load: dict[int, int] = field(default_factory=dict)

    def add(self, kind: str, units: Iterable[Any]) -> None:
        """More units of a kind, behind those that wait."""
        self._waiting.setdefault(kind, deque()).extend(units)

    def left(self, kind: str) -> int:
        """How many tasks and units of a kind are not answered yet."""
        given = sum(task.kind == kind for task in self._given.values())
        return given + len(self._waiting.get(kind, ()))

    @property
    def idle(self) -> bool:
        """Whether some worker has nothing to do, and nothing waits."""
        return not any(self._waiting.values()) and len(self._busy) < self.pool.size

    @property
    def _busy(self) -> set[int]:
        return {task.worker for task in self._given.values()}

    def run(self, take: Callable[[str, Sequence[Any], Any], None], until: Callable[[], bool]) -> None:
        """Hand out tasks and `take(kind, units, answer)` their answers, until that is said or nothing is left."""
        while not until():
            self._hand_out()
            if not self._given:
                return
            for ticket in self.pool.wait(list(self._given)):
                if ticket not in self._given:  # its worker died meanwhile
                    continue
                try:
                    answer = self.pool.answer(ticket)
                except WorkerDied as death:
                    self._again(self._given[ticket].worker, str(death))
                    continue
                task = self._given.pop(ticket)
                self._load[task.worker] -= 1
                take(task.kind, task.units, answer)

    def _hand_out(self) -> None:
        # A second task waits at each worker, so that none is idle while its answer travels; not at the end, when a
        # worker that is free should have it.
        for depth in (1, 2):
            for worker in range(self.pool.size):
                kind = next((kind for kind, units in self._waiting.items() if units), None)
                if kind is None or (depth == 2 and len(self._waiting[kind]) <= 2 * self.pool.size):
                    return
                if self._load.get(worker, 0) < depth:
                    self._give(worker, kind)

    def _give(self, worker: int, kind: str) -> None:
        waiting = self._waiting[kind]
        count = max(1, min(LARGEST_TASK, len(waiting) // (4 * self.pool.size)))
        units = [waiting.popleft()]
        while len(units) < count and waiting and not self._tried(units[-1]) and not self._tried(waiting[0]):
            units.append(waiting.popleft())  # what has cost a worker its life is tried alone
        self._given[self.pool.submit(worker, kind, units)] = _Task(worker, kind, units)
        self._load[worker] = self._load.get(worker, 0) + 1

    def _tried(self, unit: Any) -> int:
        return self._tries.get(id(unit), 0)

    def _again(self, worker: int, why: str) -> None:
        """A worker died: what it had goes to the head of the queue, the task that it was at counted as tried."""
        lost = [(ticket, task) for ticket, task in self._given.items() if task.worker == worker]
        for ticket, _ in lost:
            del self._given[ticket]
        self._load[worker] = 0
        for number, (_, task) in reversed(list(enumerate(lost))):
            self._waiting.setdefault(task.kind, deque()).extendleft(reversed(task.units))
            if number == 0:
                self._count(task.units, why)
        logger.warning(f"a worker died ({why}); another one takes its place")
        self.pool.replace(worker)

    def _count(self, units: Sequence[Any], why: str) -> None:
        for unit in units:
            self._tries[id(unit)] = self._tried(unit) + 1
        if max(map(self._tried, units)) >= MOST_TRIES:
            raise MissingError(
                f"{counted(MOST_TRIES, 'worker')} died at the same task, the last one because {why}: what is finished "
                "is kept; give workers more memory (fewer of them, or a smaller --batch-size), and run again"
            )
