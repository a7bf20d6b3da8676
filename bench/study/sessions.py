"""What a rater is shown and how an answer is taken in: the study's rules, without the web.

A rater is known by the link alone and is always at the first item of the plan that has no answer yet, so closing the
page, going back, or a second tab changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.orders import Orders
from bench.study.store import CHOICES, CONSENTED, FORGOTTEN, Answer, VoteStore

LONGEST = 24 * 3600.0
"""An answer's time in seconds is cut to this."""
AHEAD = 2
"""Items whose pictures a page may load before they are shown."""


class RefusedError(Exception):
    """A request that cannot be taken: `status` is the HTTP status, the text a sentence for the rater."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Sessions:
    """All raters of a study. `source` is stored with every answer."""

    study: Study
    keys: Keys
    votes: VoteStore
    source: str = "web"
    orders: Orders = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "orders", Orders(self.study, self.votes))

    def rater(self, token: str) -> str:
        """Whose link this is. RefusedError 404: nobody's; 410: its answers were removed."""
        rater = self.keys.rater(token)
        if rater is None:
            raise RefusedError(404, "This link belongs to no study. Please check that you have copied all of it.")
        if self.votes.state(rater) == FORGOTTEN:
            raise RefusedError(410, "The answers given with this link were removed, and the link is closed")
        return rater

    def consent(self, rater: str) -> None:
        """The rater agrees to take part."""
        self.votes.consent(rater)

    def state(self, rater: str) -> dict[str, Any]:
        """What the page shows next: how far the rater is, the next item, and pictures to load ahead of time.

        {"consented", "done", "total", "item": {...} or None, "ahead": [handle, ...], "code": only at the end}
        """
        plan = self.orders.of(rater) if self.votes.state(rater) == CONSENTED else ()
        if not plan:
            total = self.study.total(rater)
            return {"consented": False, "done": 0, "total": total, "item": None, "ahead": [], "code": None}
        answered = self.votes.answered(rater)
        waiting = [one for one in plan if one.item not in answered]
        state: dict[str, Any] = {
            "consented": True,
            "done": len(plan) - len(waiting),
            "total": len(plan),
            "item": None,
            "ahead": [
                self.keys.picture(rater, one.item, side) for one in waiting[1 : 1 + AHEAD] for side in ("left", "right")
            ],
            "code": None if waiting else self.keys.completion(rater),
        }
        if waiting:
            item = self.study.items[waiting[0].item]
            state["item"] = {
                "id": self.keys.item(rater, item.item),
                "question": self.study.question(item.task),
                "prompt": item.prompt,
                "set": item.task == "diversity",
                "practice": item.kind == "practice",
                "left": self.keys.picture(rater, item.item, "left"),
                "right": self.keys.picture(rater, item.item, "right"),
            }
        return state

    def answer(self, rater: str, body: Mapping[str, Any]) -> bool:
        """Store an answer {"item", "choice", "seconds"}; False when there was one already, which stands.

        RefusedError: 400 for what is no answer, 404 for an item that this rater is not shown, 409 before consent or
        for an item whose turn has not come.
        """
        handle, choice, seconds = body.get("item"), body.get("choice"), body.get("seconds")
        if not isinstance(handle, str) or choice not in CHOICES:
            raise RefusedError(400, "This is no answer: an item and one of left, right and tie are needed")
        plan = self.orders.begun(rater)
        position = next((i for i, one in enumerate(plan) if self.keys.item(rater, one.item) == handle), None)
        if position is None:
            raise RefusedError(404, "This item is not one of yours")
        if self.votes.state(rater) != CONSENTED:
            raise RefusedError(409, "Please read and accept the consent text first")
        shown, answered = plan[position], self.votes.answered(rater)
        if shown.item in answered:
            return False
        if any(one.item not in answered for one in plan[:position]):
            raise RefusedError(409, "The item before this one has no answer yet")
        took = _seconds(seconds)
        answer = Answer(rater, shown.item, str(choice), shown.a_left, position, took, self.source, shown.chance)
        return self.votes.add(answer)

    def picture(self, rater: str, handle: str) -> Path:
        """The file behind a picture's handle. RefusedError 404 for one that this rater is not shown."""
        for one in self.orders.begun(rater):
            item = self.study.items[one.item]
            for side in ("left", "right"):
                if self.keys.picture(rater, one.item, side) == handle:
                    name = item.asset_a if (side == "left") == one.a_left else item.asset_b
                    return self.study.asset(name)
        raise RefusedError(404, "There is no such picture")


def _seconds(value: Any) -> float | None:
    """The time of an answer, None where the page did not measure one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(max(float(value), 0.0), LONGEST)
