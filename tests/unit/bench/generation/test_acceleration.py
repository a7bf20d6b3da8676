"""Fewer steps, weights of 8 bits and DeepCache: each against what it should be, and beside the base model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.generation.generate import generate
from bench.generation.networks import actions_for, add_networks
from bench.methods.guider import Guider
from bench.models.int8 import Int8Weight, quantised
from bench.models.load import load_model
from bench.models.pipeline import PipelineModel
from bench.models.reuse import check_reuse, reusing
from bench.models.weights import digest_of, resolve
from bench.pipeline.plan import plan as make_bench_plan
from bench.sampling.guided_steps import with_guider, with_reuse
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from bench.suite.plan import RunPlan, make_plan, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from prompts import Prompt

PROMPTS = [Prompt("a", "a large red circle"), Prompt("b", "a small blue star")]
ITEMS = [("a", "a large red circle", 0), ("b", "a small blue star", 1)]
STEPS = 6


def suite() -> Any:
    found = load_suite("shapes")
    sampler = found.sampler.model_copy(update={"steps": STEPS})
    return found.model_copy(update={"sampler": sampler, "samples": 1})


def plans(*names: str, **settings: str) -> list[RunPlan]:
    methods = resolve_methods(list(names), suite(), settings)
    digests = {name: digest_of(name) for name in weights_names(suite(), methods)}
    return make_plan(suite(), methods, PROMPTS, digests)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(resolve("shapes:pipeline"), suite())


def final(model: Any, actions: Any, items: Any = ITEMS) -> torch.Tensor:
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, items))
    return latents


@pytest.mark.slow
def test_runs_of_other_steps_stand_beside(tmp_path: Path) -> None:
    """In one call: each has the pictures and counts that it has alone, and the suite's own are what they were."""
    together = plans("base", "fewer_steps", "combined", steps="3", switch_step="3")
    stores = [RunStore(tmp_path / plan.name) for plan in together]
    assert generate(together, suite(), stores) == 6
    for plan, store in zip(together, stores, strict=True):
        alone = RunStore(tmp_path / "alone" / plan.name)
        generate([plan], suite(), [alone])
        assert [row.sha256 for row in alone.images()] == [row.sha256 for row in store.images()], plan.name
    counts = [store.manifest().counts["network_evaluations_needed"] for store in stores]
    assert counts[:2] == [2 * 2 * STEPS, 2 * 2 * 3]
    assert together[1].identity["steps"] == 3
    assert together[1].identity["sampler"] == together[0].identity["sampler"]
    assert "steps" not in together[0].identity


@pytest.mark.slow
def test_fewer_steps_are_those_of_a_suite_with_fewer(model: Any, tmp_path: Path) -> None:
    few = suite().model_copy(update={"sampler": suite().sampler.model_copy(update={"steps": 3})})
    methods = resolve_methods(["base"], few)
    (other,) = make_plan(few, methods, PROMPTS, {few.model.weights: digest_of(few.model.weights)})
    (own,) = plans("fewer_steps", steps="3")
    first, second = RunStore(tmp_path / other.name), RunStore(tmp_path / own.name)
    generate([other], few, [first])
    generate([own], suite(), [second])
    assert [row.sha256 for row in first.images()] == [row.sha256 for row in second.images()]


def test_weights_of_8_bits() -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    weight[2] = 0
    held = Int8Weight(weight)
    assert held.values.dtype == torch.int8
    step = weight.abs().amax((1, 2, 3)) / 127
    error = (held() - weight).abs().amax((1, 2, 3))
    assert bool((error <= step / 2 * 1.001).all())
    assert bool((held.values.abs().amax((1, 2, 3))[[0, 1, 3, 4]] == 127).all())


@pytest.mark.slow
def test_a_quantised_network(model: Any) -> None:
    """Near the base network, not equal to it; a quarter of the memory for its weights; the base network unchanged."""
    made = quantised(model.network)
    kept = sum(one.numel() * one.element_size() for one in (*made.parameters(), *made.buffers()))
    before = sum(one.numel() * one.element_size() for one in model.network.parameters())
    assert kept < 0.3 * before
    model.add_int8("base|int8", "base")
    base, rounded = (final(model, actions_of([0.0] * STEPS, (name, 3.5))) for name in ("base", "base|int8"))
    difference = float((base - rounded).abs().mean() / base.abs().mean())
    assert 1e-4 < difference < 0.2
    assert torch.equal(base, final(model, actions_of([0.0] * STEPS, ("base", 3.5))))


@pytest.mark.slow
def test_a_tuned_method_runs_in_8_bits(tmp_path: Path) -> None:
    (plan,) = make_plan(
        suite(),
        [dataclasses.replace(resolve_method("combined", suite(), {"switch_step": "3"}), precision="int8")],
        PROMPTS,
        {name: digest_of(name) for name in ("shapes:pipeline", "shapes:refl")},
    )
    model = load_model(resolve("shapes:pipeline"), suite())
    add_networks(model, plan, suite())
    networks = [side.network for action in actions_for(plan, STEPS) for side in action]
    assert len(set(networks)) == 2
    assert all(name.endswith("|int8") and name in model.networks for name in networks)


def test_deepcache_equals_features_put_in_by_hand(model: Any) -> None:
    """Steps that reuse: the last up block runs on the deep features of the step before, and on fresh shallow ones."""
    unet, scheduler = model.network, model.new_scheduler()
    cond = model.encode([item[1] for item in ITEMS])
    states, kept = cond.states["text"], {}
    z = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    other = z + 0.1
    t = scheduler.timesteps[2]
    with torch.inference_mode():
        with reusing(unet, "keep", kept, "base"):
            full = unet(z, t, encoder_hidden_states=states).sample
        assert torch.equal(full, unet(z, t, encoder_hidden_states=states).sample)
        with reusing(unet, "reuse", kept, "base"):
            same, moved = (unet(x, t, encoder_hidden_states=states).sample for x in (z, other))
        assert torch.equal(same, full)  # of the same input nothing is lost
        temb = unet.time_embedding(unet.time_proj(t.expand(2)))
        _, skips = unet.down_blocks[0](unet.conv_in(other), temb)
        top = [unet.conv_in(other), *skips][: len(unet.up_blocks[-1].resnets)]
        by_hand = unet.up_blocks[-1](kept["base"], tuple(top), temb)
        by_hand = unet.conv_out(unet.conv_act(unet.conv_norm_out(by_hand)))
    torch.testing.assert_close(moved, by_hand, rtol=1e-4, atol=1e-5)
    assert not torch.equal(moved, unet(other, t, encoder_hidden_states=states).sample)
    assert torch.equal(full, unet(z, t, encoder_hidden_states=states).sample)


def test_which_steps_reuse() -> None:
    """Anew at every Nth step, after a change of network, and where guidance begins or ends."""
    actions = actions_of([0.0] * 4 + [1.0] * 3, ("base", 3.5), ("tuned", 1.0))
    found = [side.reuse for action in with_reuse(actions, 3) for side in action]
    assert found == ["keep", "reuse", "reuse", "keep", "keep", "reuse", "keep"]
    interval = with_guider(actions_of([0.0] * 6, ("base", 3.5)), Guider("interval", start=0.5, stop=1.0))
    assert [side.reuse for action in with_reuse(interval, 6) for side in action] == ["keep", "reuse", "reuse"] * 2
    assert with_reuse(actions, None) == actions


def test_branches_keep_their_own_features(model: Any) -> None:
    base = actions_of([0.0] * STEPS, ("base", 3.5))
    methods = {"every": with_reuse(base, 4), "plain": base, "late": with_reuse(base, 5)}
    results = dict(run_tree(model, build_tree(methods), as_batch(model, 7, ITEMS)))
    for name, actions in methods.items():
        assert torch.equal(results[(name,)], final(model, actions)), name
    assert not torch.equal(results[("every",)], results[("plain",)])


@pytest.mark.parametrize(
    ("name", "suite_name", "settings", "said"),
    [
        ("deepcache", "sd35-pickapic", {}, "cache_interval is for UNets, not for models of family 'sd3'"),
        ("deepcache", "shapes", {"cache_interval": "0"}, "cache_interval of .* must be at least 1"),
        ("fewer_steps", "shapes", {"steps": "0"}, "steps of .* must be in 1.."),
        ("int8", "shapes", {"precision": "int4"}, "must be 'int8', got 'int4'"),
        ("base", "shapes", {"steps": "3"}, "has no setting 'steps'"),
    ],
)
def test_refused(name: str, suite_name: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_method(name, load_suite(suite_name), settings)
    with pytest.raises(UsageError, match="is for UNets"):
        check_reuse(torch.nn.Linear(1, 1))


def test_a_plan_counts_their_own_steps() -> None:
    found = make_bench_plan("shapes", ["base", "fewer_steps"], settings={"steps": 10}, limit=1)
    assert found.evaluations_alone == found.evaluations_shared == 5 * 2 * (40 + 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "missing"),
    [
        ("int8", {}, "add_int8"),
        ("soup", {"soup": "shapes:refl"}, "add_soup"),
        ("autoguidance", {"weak": "skip:mid_block.attentions.0.transformer_blocks:0"}, "add_weak"),
        ("fewer_steps", {"steps": "3"}, "use_steps"),
    ],
)
def test_a_family_of_ones_own_without_it_is_named(
    name: str, settings: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that was written when the protocol of models had less."""
    (plan,) = plans(name, **settings)
    plan.identity["family"] = "mine"
    for owner in [one for one in PipelineModel.__mro__ if missing in vars(one)]:
        monkeypatch.delattr(owner, missing)
    with pytest.raises(UsageError, match=f"'{name}.*' needs {missing}, which the model of family 'mine' does not have"):
        generate([plan], suite(), [RunStore(tmp_path / "run")])
