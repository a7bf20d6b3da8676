"""The order of items of each rater: as planned or, of an adaptive study, drawn when the rater begins, and then kept."""

from __future__ import annotations

import json
import threading
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.study.folder import Shown, Study
from bench.study.store import VoteStore, rows_of

if TYPE_CHECKING:
    from bench.study.adaptive import Looks, Verdicts


class Orders:
    """What each rater of a study is shown. Safe to use from several threads and processes."""

    def __init__(self, study: Study, votes: VoteStore) -> None:
        self._study, self._votes = study, votes
        self._known: dict[str, tuple[Shown, ...]] = {}
        self._verdicts: dict[str, Verdicts] = {}
        self._draws: Any = None
        self._lock = threading.Lock()

    def of(self, rater: str) -> tuple[Shown, ...]:
        """The order of a rater; of an adaptive study it is drawn now, by the votes so far, if it was not before.

        () for a rater who was forgotten while it was drawn.
        """
        return self.begun(rater) or self._drawn(rater)

    def begun(self, rater: str) -> tuple[Shown, ...]:
        """The order of a rater; () where none is drawn yet."""
        if self._study.adaptive is None:
            return self._study.plan.get(rater, ())
        if rater not in self._known and (kept := self._votes.order(rater)):
            self._known[rater] = self._read(kept)
        return self._known.get(rater, ())

    def all(self) -> dict[str, tuple[Shown, ...]]:
        """The orders of all raters who have one."""
        if self._study.adaptive is None:
            return dict(self._study.plan)
        return {rater: self._read(kept) for rater, kept in self._votes.orders().items()}

    def decided(self) -> dict[str, tuple[int, int, int, int]]:
        """Of an adaptive study, by task: decided pairs and pairs, looks taken and looks."""
        if self._study.adaptive is None:
            return {}
        methods = len(self._study.methods)
        with self._lock:
            found = self._judged()
        return {
            task: (len(one.winners), methods * (methods - 1) // 2, len(one.taken), len(self._looks(task).votes))
            for task, one in found.items()
        }

    def _drawn(self, rater: str) -> tuple[Shown, ...]:
        from bench.study.drawing import Draws

        with self._lock:
            self._draws = self._draws or Draws.of(self._study)
            done = {task: set(one.winners) for task, one in self._judged().items()}
            given = Counter(one.item for order in self.all().values() for one in order)
            rng = Random(f"{self._study.manifest['seed']}:adaptive:{rater}")
            order = self._draws.order(int(self._study.manifest["per_rater"]), done, given, rng)
            rows = [{"item": one.item, "left": "a" if one.a_left else "b", "chance": one.chance} for one in order]
            kept = self._votes.keep_order(rater, json.dumps(rows))
            if kept:
                self._known[rater] = self._read(kept)
        return self._known.get(rater, ())

    def _judged(self) -> dict[str, Verdicts]:
        """What the looks of each task have found. A look that was taken is not taken again by this process."""
        from bench.study.adaptive import Verdicts, at_looks
        from bench.study.ballots import ballots
        from bench.study.votes import vote_of

        votes = [
            vote
            for number, row in enumerate(rows_of(self._study, self._votes.answers()), 1)
            if (vote := vote_of(row, f"{self._study.folder}, vote {number}")).kind == "real"
        ]
        for task in self._study.manifest["tasks"]:
            before = self._verdicts.get(task, Verdicts())
            own = [vote for vote in votes if vote.task == task]
            if own:
                before = at_looks(ballots(own, task, self._study.methods), self._looks(task), before)
            self._verdicts[task] = before
        return self._verdicts

    def _looks(self, task: str) -> Looks:
        from bench.study.adaptive import Looks

        assert self._study.adaptive is not None
        return Looks(tuple(self._study.adaptive["looks"][task]))

    def _read(self, kept: str) -> tuple[Shown, ...]:
        try:
            order = tuple(Shown(one["item"], one["left"] == "a", one["chance"]) for one in json.loads(kept))
        except (ValueError, KeyError, TypeError):
            order = ()
        if not order or any(one.item not in self._study.items for one in order):
            raise UsageError(
                f"the votes of {self._study.folder} hold an order of items that are not the study's: its files and its "
                "database do not belong together"
            )
        return order
