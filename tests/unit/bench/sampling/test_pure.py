"""Noise seeds, the tree of shared steps, and the batches: no model."""

from __future__ import annotations

import pytest
import torch

from bench.sampling.batches import make_work
from bench.sampling.noise import generators, initial_noise, noise_seed
from bench.sampling.tree import Side, actions_of, build_tree, executed, needed

BASE, TUNED = ("base", 7.5), ("tuned", 1.0)


def step(k: int, steps: int = 40) -> list[float]:
    return [0.0] * k + [1.0] * (steps - k)


def test_noise_is_a_function_of_its_four_arguments() -> None:
    seeds = {noise_seed(s, p, k, i) for s in (0, 1) for p in ("a", "b") for k in (0, 1) for i in (0, 1)}
    assert len(seeds) == 16
    both = initial_noise(42, ["a", "b"], [0, 3], (4, 8, 8))
    alone = initial_noise(42, ["b"], [3], (4, 8, 8))
    assert torch.equal(both[1:], alone)
    assert abs(float(initial_noise(1, ["a"], [0], (64, 64, 64)).std()) - 1.0) < 0.01
    first, second = (torch.randn(3, generator=generators(42, ["a"], [0], step)[0]) for step in (1, 2))
    assert not torch.equal(first, second)


def test_an_unused_side_does_not_run() -> None:
    assert actions_of([0.0, 0.25, 1.0], BASE, TUNED) == (
        (Side("base", 7.5),),
        (Side("base", 7.5, 0.75), Side("tuned", 1.0, 0.25)),
        (Side("tuned", 1.0),),
    )
    with pytest.raises(ValueError, match="tuned"):
        actions_of([0.0, 1.0], BASE)


def test_four_methods_cost_100_of_160_steps_without_guidance() -> None:
    plain, tuned, other = ("base", 1.0), ("tuned", 1.0), ("imagerefl", 1.0)
    runs = {
        "base": actions_of([0.0] * 40, plain),
        "refl": actions_of([1.0] * 40, plain, tuned),
        "combined": actions_of(step(30), plain, tuned),
        "imagerefl": actions_of(step(30), plain, other),
    }
    tree = build_tree(runs)
    assert sum(needed(runs).values()) == 160
    assert executed(tree) == {"base": 40, "refl": 40, "combined": 10, "imagerefl": 10}


def test_the_papers_sweep_shares_the_trunk() -> None:
    runs = {f"k{k}": actions_of(step(k), BASE, TUNED) for k in (0, 20, 25, 32, 35, 38)}
    assert sum(needed(runs).values()) == sum(2 * k + 40 - k for k in (0, 20, 25, 32, 35, 38))
    # k = 0 shares nothing; of the others the trunk of 38 base steps runs once.
    assert sum(executed(build_tree(runs)).values()) == 40 + 38 * 2 + (20 + 15 + 8 + 5 + 2)


def test_equal_runs_end_in_one_leaf_and_lengths_must_agree() -> None:
    tree = build_tree({"a": actions_of([0.0] * 3, BASE), "b": actions_of([0.0] * 3, BASE)})
    assert (tree.runs, tree.children, tree.stop) == (("a", "b"), (), 3)
    with pytest.raises(ValueError, match="number of steps"):
        build_tree({"a": actions_of([0.0] * 3, BASE), "b": actions_of([0.0] * 2, BASE)})
    with pytest.raises(ValueError, match="at least one"):
        build_tree({})


def test_batches_after_a_kill_are_the_whole_batches_that_are_missing() -> None:
    order = [(f"p{i}", 0) for i in range(10)]
    whole = make_work(order, {"a": set(order), "b": set(order)}, {}, 4)
    assert [len(work.keys) for work in whole] == [4, 4, 2]
    rest = make_work(order, {"a": set(order[4:]), "b": set(order)}, {}, 4)
    assert [work.keys for work in rest] == [work.keys for work in whole]
    assert set(rest[0].save) == {"b"}
    assert set(rest[1].save) == {"a", "b"}


def test_a_damaged_image_is_made_again_in_its_old_company() -> None:
    order = [(f"p{i}", 0) for i in range(10)]
    (work,) = make_work(order, {"a": set()}, {"a": {order[5]}, "b": set()}, 4)
    assert work.keys == tuple(order[4:8])
    assert work.save == {"a": frozenset({order[5]})}
