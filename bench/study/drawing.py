"""What a rater of an adaptive study is shown: pairs by chance, then the items of the pair that had the fewest votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np

from bench.study.adaptive import FLOOR, Pair, chances, draw, planned_looks
from bench.study.folder import Shown, Study, StudyItem
from bench.study.plan import Extras, block, shares, some

LAST_LOOK = 0.95
"""The share of the planned votes at which the last look is taken, as some raters do not finish."""


class Draws:
    """The items of a study, sorted for drawing. Reads nothing."""

    def __init__(
        self, items: Sequence[StudyItem], methods: Sequence[str], tasks: Sequence[str], extras: Extras, floor: float
    ) -> None:
        self._methods, self._tasks, self._extras, self._floor = methods, tasks, extras, floor
        self._pools: dict[tuple[str, str, str], list[StudyItem]] = {}
        self._others: dict[tuple[str, str], list[StudyItem]] = {}
        self._repeats: dict[str, StudyItem] = {}
        for item in items:
            if item.kind == "real":
                self._pools.setdefault((item.task, item.method_a, item.method_b), []).append(item)
            elif item.kind == "repeat":
                self._repeats[item.repeated_of or ""] = item
            else:
                self._others.setdefault((item.task, item.kind), []).append(item)

    @classmethod
    def of(cls, study: Study) -> Draws:
        """Those of an adaptive study's folder."""
        its, adaptive = study.manifest, study.adaptive or {}
        extras = Extras(**its["extras"])
        return cls(list(study.items.values()), study.methods, its["tasks"], extras, float(adaptive["floor"]))

    def order(
        self, per_rater: int, done: Mapping[str, Collection[Pair]], given: Mapping[str, int], rng: Random
    ) -> tuple[Shown, ...]:
        """The order of a new rater: `per_rater` real items shared by the tasks, practice, checks and repeats.

        `done` has the decided pairs by task, `given` how often each item was given to raters before.
        """
        parts = dict(zip(self._tasks, shares(per_rater, len(self._tasks)), strict=True))
        repeats = dict(zip(self._tasks, shares(self._extras.repeats, len(self._tasks)), strict=True))
        tasks, shown = list(self._tasks), list[Shown]()
        rng.shuffle(tasks)
        for task in tasks:
            own = self._own(task, parts[task], done.get(task, ()), given, rng)
            shown += some(self._others.get((task, "practice"), ()), self._extras.practice, rng)
            checks = self._others.get((task, "check"), ())
            shown += block(own, checks, self._repeats, self._extras.checks, repeats[task], rng)
        return tuple(shown)

    def _own(self, task: str, count: int, done: Collection[Pair], given: Mapping[str, int], rng: Random) -> list[Shown]:
        table = chances(self._methods, done, self._floor)
        prompts: Counter[str] = Counter()
        own: list[Shown] = []
        seen: set[str] = set()
        for (a, b), chance in draw(np.random.default_rng(rng.getrandbits(64)), table, count):
            waiting = [item for item in self._pools[task, a, b] if item.item not in seen]
            item = min(waiting, key=lambda one: (given.get(one.item, 0), prompts[one.prompt_id], rng.random()))
            seen.add(item.item)
            prompts[item.prompt_id] += 1
            # of the votes of an item half have a on the left, beginning with either
            a_left = (given.get(item.item, 0) + int(item.item[-1], 16)) % 2 == 0
            own.append(Shown(item.item, a_left, chance))
        return own


def design_of(
    items: Sequence[StudyItem],
    methods: Sequence[str],
    tasks: Sequence[str],
    extras: Extras,
    size: tuple[int, int],
    notes: list[str],
) -> tuple[dict[str, Any], int]:
    """What the manifest says of an adaptive study of `size` (raters, real items of each), and the items of a rater."""
    raters, count = size
    prompts = len({item.prompt_id for item in items if item.kind == "real"})
    if count > prompts * len(tasks):  # all that a rater is asked may be of one pair
        count = prompts * len(tasks)
        notes.append(f"{count} items a rater, as in an adaptive study all may be of one pair, and none is asked twice")
    if len(methods) == 2:
        notes.append("two methods have one pair, so that there is nothing to adapt but when to stop")
    pairs = len(methods) * (len(methods) - 1) // 2
    each = dict(zip(tasks, shares(count, len(tasks)), strict=True))
    looks = {task: list(planned_looks(round(LAST_LOOK * raters * each[task]), pairs).votes) for task in tasks}
    shown = len(Draws(items, methods, tasks, extras, FLOOR).order(count, {}, {}, Random(0)))
    return {"floor": FLOOR, "looks": looks, "shown": shown}, count
