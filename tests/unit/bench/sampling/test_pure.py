"""Noise seeds, the tree of shared steps, and the batches: no model."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.sampling.batches import Cut, Layer, Work, cut, make_work
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


def work_of(size: int, layers: list[Layer], prompts: list[str], **wanted: set[tuple[str, int]]) -> list[Work]:
    return make_work(prompts, wanted, dict.fromkeys(wanted, Cut(size, tuple(layers))))


def test_batches_are_cut_from_the_list_of_all_images_and_from_nothing_else() -> None:
    prompts = [f"p{i}" for i in range(10)]
    order = [(prompt, 0) for prompt in prompts]
    whole = work_of(4, [Layer(0, 1)], prompts, a=set(order), b=set(order))
    assert [len(work.keys) for work in whole] == [4, 4, 2]
    rest = work_of(4, [Layer(0, 1)], prompts, a=set(order[4:]), b=set(order))
    assert [work.keys for work in rest] == [work.keys for work in whole]
    assert set(rest[0].save) == {"b"}
    assert set(rest[1].save) == {"a", "b"}


@pytest.mark.slow
@given(st.data())
def test_whatever_is_there_already_an_image_keeps_its_company(data: st.DataObject) -> None:
    """Made by any workers in any order, killed at any moment, with any company of other runs."""
    prompts = [f"p{i}" for i in range(data.draw(st.integers(1, 6)))]
    ends = sorted(data.draw(st.sets(st.integers(1, 5), min_size=1, max_size=3)))
    layers = [
        Layer(first, end, frozenset(data.draw(st.sets(st.integers(0, len(prompts) * (end - first) - 1)))))
        for first, end in pairwise([0, *ends])
    ]
    plan = Cut(data.draw(st.integers(1, 7)), tuple(layers))
    keys = {key for layer in layers for key in layer.keys(prompts)}
    taken = {key for layer in layers for index, key in enumerate(layer.keys(prompts)) if index in layer.reused}
    company = {key: work.keys for work in make_work(prompts, {"a": keys - taken}, {"a": plan}) for key in work.keys}
    wanted = data.draw(st.sets(st.sampled_from(sorted(keys))))
    other = data.draw(st.sets(st.sampled_from(sorted(keys))))
    work = make_work(prompts, {"a": wanted, "b": other}, {"a": plan, "b": Cut(3, (Layer(0, ends[-1]),))})
    saved = [key for one in work for key in one.save.get("a", ())]
    assert sorted(saved) == sorted(wanted)  # each once
    assert all(one.keys == company[key] for one in work for key in one.save.get("a", frozenset()) - taken)


@given(st.data())
def test_units_of_several_images_are_never_split(data: st.DataObject) -> None:
    """Whatever the size, what is wanted, what was taken over, and how small memory makes the pieces."""
    prompts = [f"p{i}" for i in range(data.draw(st.integers(1, 6)))]
    group, size = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 9))
    keys = [(prompt, sample) for prompt in prompts for sample in range(group)]
    taken = frozenset(data.draw(st.sets(st.integers(0, len(keys) - 1))))
    plan = Cut(size, (Layer(0, group, taken),), group)
    wanted = data.draw(st.sets(st.sampled_from(keys)))
    work = make_work(prompts, {"a": wanted}, {"a": plan})
    pieces = [piece for one in work for piece in cut(one, data.draw(st.integers(1, 9)))]
    for one in (*work, *pieces):
        assert one.keys == tuple((prompt, k) for prompt in dict(one.keys) for k in range(group))
        assert len(one.keys) <= max(group, size)
    for made in (work, pieces):
        assert sorted(key for one in made for key in one.save["a"]) == sorted(wanted)  # each once


def test_a_damaged_image_is_made_again_in_its_old_company() -> None:
    prompts = [f"p{i}" for i in range(10)]
    (work,) = work_of(4, [Layer(0, 1)], prompts, a={("p5", 0)}, b=set())
    assert work.keys == tuple((prompt, 0) for prompt in prompts[4:8])
    assert work.save == {"a": frozenset({("p5", 0)})}


def test_more_samples_do_not_make_the_first_ones_again() -> None:
    grown = Cut(4, (Layer(0, 2),)).grown(4)
    assert grown.layers == (Layer(0, 2), Layer(2, 4))
    assert grown.grown(3) is grown
    missing = {(prompt, sample) for prompt in ("p", "q") for sample in (2, 3)}
    (work,) = make_work(["p", "q"], {"a": missing}, {"a": grown})
    assert set(work.keys) == missing


def test_what_was_taken_over_is_in_no_batch_until_it_is_lost() -> None:
    plan = Cut(2, (Layer(0, 2),)).reusing(["p", "q"], {("p", 0), ("q", 1)})
    assert plan.layers == (Layer(0, 2, frozenset({0, 3})),)
    wanted = {("p", 1), ("q", 0)}
    assert [work.keys for work in make_work(["p", "q"], {"a": wanted}, {"a": plan})] == [(("p", 1), ("q", 0))]
    (again,) = make_work(["p", "q"], {"a": {("p", 0)}}, {"a": plan})
    assert again == Work((("p", 0), ("p", 1)), {"a": frozenset({("p", 0)})})
