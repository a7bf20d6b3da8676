"""Handing out tasks: every unit is taken once, whatever dies, and nothing waits for one worker at the end."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.engines.dispatch import LARGEST_TASK, MOST_TRIES, Dispatcher, WorkerDied
from bench.errors import MissingError, UsageError


@dataclass
class Workers:
    """Workers in this process, of which `dying` says (by the units of the task it is at) which die."""

    size: int
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    dying: Any = None
    queues: dict[int, deque[tuple[int, str, list[Any]]]] = field(default_factory=dict)
    where: dict[int, int] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    done: Counter[int] = field(default_factory=Counter)
    replaced: int = 0
    number: int = 0

    def submit(self, worker: int, kind: str, units: Sequence[Any]) -> Hashable:
        self.number += 1
        self.queues.setdefault(worker, deque()).append((self.number, kind, list(units)))
        self.where[self.number] = worker
        self.sizes.append(len(units))
        return self.number

    def wait(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        heads = [queue[0][0] for queue in self.queues.values() if queue]
        return self.chance.sample(heads, self.chance.randint(1, len(heads)))

    def answer(self, ticket: Hashable) -> Any:
        assert isinstance(ticket, int)
        worker = self.where[ticket]
        number, _, units = self.queues[worker][0]
        assert number == ticket
        if self.dying is not None and self.dying(units):
            raise WorkerDied("killed")
        self.queues[worker].popleft()
        self.done[worker] += len(units)
        return [unit * 10 for unit in units]

    def replace(self, worker: int) -> None:
        self.queues[worker] = deque()
        self.replaced += 1


@given(st.integers(1, 5), st.integers(0, 60), st.integers(0, 2**16), st.floats(0, 0.3))
def test_every_unit_is_taken_once_however_many_workers_die(size: int, count: int, seed: int, rate: float) -> None:
    chance = random.Random(seed)
    left = [3]  # of deaths of one unit: fewer than what ends the work

    def dying(units: list[int]) -> bool:
        if left[0] and chance.random() < rate:
            left[0] -= 1
            return True
        return False

    pool = Workers(size, random.Random(seed), dying)
    dispatcher, taken = Dispatcher(pool), Counter[int]()

    def take(kind: str, units: Sequence[int], answer: Sequence[int]) -> None:
        assert list(answer) == [unit * 10 for unit in units]
        taken.update(units)

    dispatcher.add("make", range(1000, 1000 + count))
    dispatcher.run(take, until=lambda: not dispatcher.left("make"))
    assert taken == Counter(range(1000, 1000 + count))
    assert pool.replaced == 3 - left[0]


def test_tasks_are_small_at_the_end_and_everybody_works() -> None:
    pool = Workers(4)
    dispatcher = Dispatcher(pool)
    dispatcher.add("make", range(200))
    dispatcher.run(lambda *_: None, until=lambda: not dispatcher.left("make"))
    assert pool.sizes[0] == LARGEST_TASK
    assert pool.sizes[-8:] == [1] * 8
    assert min(pool.done.values()) >= 0.15 * 200
    assert sum(pool.sizes) == 200


def test_what_came_first_is_handed_out_first_and_idle_workers_are_seen() -> None:
    pool = Workers(3)
    dispatcher, seen = Dispatcher(pool), list[str]()

    def take(kind: str, units: Sequence[int], answer: Any) -> None:
        seen.append(kind)
        if dispatcher.idle and kind == "make" and dispatcher.left("make"):
            dispatcher.add("score", [1])

    dispatcher.add("make", range(4))
    dispatcher.run(take, until=lambda: not dispatcher.left("make") and not dispatcher.left("score"))
    assert seen.count("make") == 4
    assert "score" in seen


def test_a_task_that_kills_every_worker_ends_the_work_in_a_sentence(said: list[str]) -> None:
    pool = Workers(2, dying=lambda units: 7 in units)
    dispatcher, taken = Dispatcher(pool), list[int]()
    dispatcher.add("make", range(10))
    with pytest.raises(MissingError, match=r"4 workers died at the same task, the last one because killed: .* kept"):
        dispatcher.run(lambda _, units, __: taken.extend(units), until=lambda: False)
    assert pool.replaced == MOST_TRIES - 1
    assert 7 not in taken
    assert (
        len([line for line in said if "a worker died (killed); another one takes its place" in line]) == MOST_TRIES - 1
    )


def test_the_mistake_of_a_user_ends_the_work() -> None:
    class Refusing(Workers):
        def answer(self, ticket: Hashable) -> Any:
            raise UsageError("the disk is full")

    dispatcher = Dispatcher(Refusing(2))
    dispatcher.add("make", range(10))
    with pytest.raises(UsageError, match="the disk is full"):
        dispatcher.run(lambda *_: None, until=lambda: False)
