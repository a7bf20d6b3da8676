"""Who is shown what: items dealt to raters so that methods, prompts, sides and order are balanced.

Every item gets the same number of votes, give or take one; every rater sees all pairs of methods equally often, give or
take one, no item twice, and prompts as rarely twice as can be; of the votes of an item, half have method a on the left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bench.study.folder import Shown, StudyItem

Group = tuple[str, str, str]  # task, method_a, method_b


@dataclass(frozen=True, slots=True)
class Extras:
    """What a rater is shown beside the items themselves, per task; `repeats` in all."""

    practice: int
    checks: int
    repeats: int


class Dealer:
    """Hands out real items one rater at a time, always the one that has had the fewest votes."""

    def __init__(self, items: Sequence[StudyItem], rng: Random) -> None:
        self.rng = rng
        self.queues: dict[Group, list[StudyItem]] = {}
        self.votes: Counter[str] = Counter()
        self.given: Counter[Group] = Counter()
        self.a_first: dict[str, int] = {}
        groups: dict[Group, list[StudyItem]] = {}
        for item in items:
            groups.setdefault((item.task, item.method_a, item.method_b), []).append(item)
        for group, members in groups.items():
            rng.shuffle(members)
            self.queues[group] = members
            first = rng.randrange(2)
            self.a_first |= {item.item: (index + first) % 2 for index, item in enumerate(members)}

    def deal(self, count: int) -> list[tuple[StudyItem, bool]]:
        """`count` different items (fewer where there are no more), each with whether a stands on the left."""
        taken: list[tuple[StudyItem, bool]] = []
        here: Counter[Group] = Counter()
        prompts: Counter[tuple[str, str]] = Counter()
        seen: set[str] = set()
        while len(taken) < count:
            ranked = sorted(self.queues, key=lambda group: (here[group], self.given[group], self.rng.random()))
            item = next((one for group in ranked if (one := self._pick(group, seen, prompts)) is not None), None)
            if item is None:
                break
            group = (item.task, item.method_a, item.method_b)
            taken.append((item, (self.a_first[item.item] + self.votes[item.item]) % 2 == 0))
            self.votes[item.item] += 1
            self.given[group] += 1
            here[group] += 1
            prompts[item.task, item.prompt_id] += 1
            seen.add(item.item)
        return taken

    def _pick(self, group: Group, seen: set[str], prompts: Counter[tuple[str, str]]) -> StudyItem | None:
        """Of the items with the fewest votes, one whose prompt this rater saw least often; it goes to the end."""
        queue = self.queues[group]
        lowest = self.given[group] // len(queue)  # no item has had fewer
        best: StudyItem | None = None
        rank = (0, 0)
        for item in queue:
            if item.item in seen:
                continue
            its = (self.votes[item.item], prompts[item.task, item.prompt_id])
            if best is None or its < rank:
                best, rank = item, its
            if rank <= (lowest, 0):
                break
        if best is not None:
            queue.remove(best)
            queue.append(best)
        return best


def assign(
    items: Sequence[StudyItem],
    others: Mapping[tuple[str, str], Sequence[StudyItem]],
    repeats: Mapping[str, StudyItem],
    raters: Sequence[str],
    per_rater: int,
    extras: Extras,
    rng: Random,
) -> dict[str, tuple[Shown, ...]]:
    """The order of items for every rater.

    `items` are the real ones; `others` has those of kind practice and check by (task, kind); `repeats` has, by the
    item that is repeated, the item that stands for its second showing. A rater's tasks come in blocks, in random
    order; a block begins with practice, checks stand anywhere, a repeat stands in the second half with sides swapped.
    """
    dealer = Dealer(items, rng)
    plan = {}
    for rater in raters:
        dealt = dealer.deal(per_rater)
        tasks = list(dict.fromkeys(item.task for item, _ in dealt))
        rng.shuffle(tasks)
        shown: list[Shown] = []
        for task, share in zip(tasks, shares(extras.repeats, len(tasks)), strict=True):
            own = [Shown(item.item, a_left) for item, a_left in dealt if item.task == task]
            shown += some(others.get((task, "practice"), ()), extras.practice, rng)
            shown += block(own, others.get((task, "check"), ()), repeats, extras.checks, share, rng)
        plan[rater] = tuple(shown)
    return plan


def shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` that differ by one at most."""
    return [total // parts + (index < total % parts) for index in range(parts)] if parts else []


def some(pool: Sequence[StudyItem], count: int, rng: Random) -> list[Shown]:
    """Up to `count` items of a pool, sides at random."""
    return [Shown(item.item, rng.random() < 0.5) for item in rng.sample(list(pool), min(count, len(pool)))]


def block(
    own: list[Shown],
    checks: Sequence[StudyItem],
    repeats: Mapping[str, StudyItem],
    n_checks: int,
    n_repeats: int,
    rng: Random,
) -> list[Shown]:
    """Real items in random order, checks among them, and repeats of items of the first half in the second."""
    order = list(own)
    rng.shuffle(order)
    early = [one for one in order[: max(1, len(order) // 2)] if one.item in repeats]
    again = rng.sample(early, min(n_repeats, len(early)))
    late = len(order) // 2 + 1
    for one in again:
        order.insert(rng.randint(min(late, len(order)), len(order)), Shown(repeats[one.item].item, not one.a_left))
    for check in some(checks, n_checks, rng):
        order.insert(rng.randint(1 if order else 0, len(order)), check)
    return order
