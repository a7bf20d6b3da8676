"""Plans are balanced whatever the sizes are."""

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

import pytest

from bench.study.folder import StudyItem
from bench.study.plan import Extras, assign


def items_of(tasks: int, methods: int, prompts: int) -> list[StudyItem]:
    return [
        StudyItem(f"{t}-{a}-{b}-{p}", f"t{t}", "real", f"p{p}", "", 0, f"m{a}", f"m{b}", "", "")
        for t in range(tasks)
        for a, b in itertools.combinations(range(methods), 2)
        for p in range(prompts)
    ]


SIZES = [(1, 2, 1, 1, 1), (1, 2, 30, 10, 3), (2, 3, 12, 20, 3), (1, 4, 25, 30, 5), (3, 4, 7, 17, 2), (1, 5, 40, 400, 2)]


@pytest.mark.parametrize(("tasks", "methods", "prompts", "per_rater", "votes"), SIZES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_votes_pairs_sides_and_prompts_are_balanced(
    tasks: int, methods: int, prompts: int, per_rater: int, votes: int, seed: int
) -> None:
    items = items_of(tasks, methods, prompts)
    by_id = {item.item: item for item in items}
    raters = [f"r{i}" for i in range(-(-len(items) * votes // per_rater))]
    plan = assign(items, {}, {}, raters, min(per_rater, len(items)), Extras(0, 0, 0), Random(seed))
    given = Counter(one.item for order in plan.values() for one in order)
    counts = [given[item.item] for item in items]
    assert max(counts) - min(counts) <= 2
    assert sum(counts) >= votes * len(items)
    pairs = Counter((by_id[i].task, by_id[i].method_a, by_id[i].method_b) for i in given.elements())
    assert max(pairs.values()) - min(pairs.values()) <= 1
    for order in plan.values():
        assert len({one.item for one in order}) == len(order)
        here = Counter((by_id[one.item].task, by_id[one.item].method_a, by_id[one.item].method_b) for one in order)
        assert max(here.values()) - min([*here.values(), *([0] if len(here) < len(pairs) else [])]) <= 1
    left = Counter((one.item, one.a_left) for order in plan.values() for one in order)
    for item in items:
        assert abs(left[item.item, True] - left[item.item, False]) <= 1
    for pair in pairs:
        members = [i for i in by_id if (by_id[i].task, by_id[i].method_a, by_id[i].method_b) == pair]
        lefts = sum(left[i, True] for i in members), sum(left[i, False] for i in members)
        assert abs(lefts[0] - lefts[1]) <= 1 + max(3, 0.1 * sum(lefts))


def test_prompts_are_seldom_seen_twice() -> None:
    items = items_of(1, 4, 30)
    plan = assign(items, {}, {}, [f"r{i}" for i in range(18)], 30, Extras(0, 0, 0), Random(0))
    by_id = {item.item: item for item in items}
    for order in plan.values():
        seen = Counter(by_id[one.item].prompt_id for one in order)
        assert max(seen.values()) <= 2


def test_a_block_has_practice_first_checks_and_repeats_with_swapped_sides() -> None:
    items = items_of(2, 3, 10)
    others = {
        (task, kind): [StudyItem(f"{task}-{kind}-{i}", task, kind, "p", "", 0, "a", "b", "", "") for i in range(4)]
        for task in ("t0", "t1")
        for kind in ("practice", "check")
    }
    repeats = {
        item.item: StudyItem(f"again-{item.item}", item.task, "repeat", "p", "", 0, "a", "b", "", "") for item in items
    }
    plan = assign(items, others, repeats, ["r1", "r2", "r3"], 20, Extras(2, 2, 3), Random(4))
    orders = set()
    for order in plan.values():
        names = [one.item for one in order]
        tasks = [name.removeprefix("again-").split("-")[0].replace("0", "t0").replace("1", "t1")[-2:] for name in names]
        assert len([task for task, _ in itertools.groupby(tasks)]) == 2, "tasks come in blocks"
        assert sum("practice" in name for name in names) == 4
        assert sum("check" in name for name in names) == 4
        for start in (0, len(names) - 1 - tasks[::-1].index(tasks[-1])):
            assert start == 0 or start
        again = [name for name in names if name.startswith("again-")]
        assert len(again) == 3
        sides = {one.item: one.a_left for one in order}
        for name in again:
            first = name.removeprefix("again-")
            assert names.index(name) - names.index(first) >= 2
            assert sides[name] is not sides[first]
        firsts = [index for index, (a, b) in enumerate(itertools.pairwise(["", *tasks])) if a != b]
        for first in firsts:
            assert "practice" in names[first]
            assert "practice" in names[first + 1]
        orders.add(tuple(tasks))
    assert orders
