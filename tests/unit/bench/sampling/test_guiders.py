"""Guiders against diffusers' own, in a plain loop, on the embedded model and on a small flow-matching transformer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.guiders import (
    AdaptiveProjectedGuidance,
    AutoGuidance,
    ClassifierFreeGuidance,
    ClassifierFreeZeroStarGuidance,
)
from diffusers.hooks import LayerSkipConfig
from torch import Tensor

from bench.errors import UsageError
from bench.methods.guider import Guider
from bench.models.load import load_model
from bench.models.weights import resolve
from bench.sampling.guided_steps import with_guider
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import generators, initial_noise, noise_seed
from bench.sampling.tree import actions_of, build_tree, executed, needed
from bench.suite.load import load_suite
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.tiny import tiny_suite

STEPS = 8
SCALE = 5.0
ITEMS = [("p1", "a large red circle", 0), ("p1", "a large red circle", 1), ("p2", "a small blue star", 3)]
IDS, SAMPLES = [item[0] for item in ITEMS], [item[2] for item in ITEMS]
BLOCKS = {"sd": "mid_block.attentions.0.transformer_blocks", "sd3": "transformer_blocks"}


def guiders(family: str) -> dict[str, tuple[Guider, Any]]:
    """Ours and diffusers', by name, at settings that change pictures."""
    skip = LayerSkipConfig(indices=[0], fqn=BLOCKS[family])
    zero = {"zero_init_steps": 2, "start": 0.0, "stop": 0.9}
    return {
        "plain": (Guider(), ClassifierFreeGuidance(SCALE)),
        "interval": (Guider("interval", start=0.3, stop=0.8), ClassifierFreeGuidance(SCALE, start=0.3, stop=0.8)),
        "apg": (
            Guider("apg", eta=0.25, momentum=-0.5, norm_threshold=4.0, start=0.0, stop=1.0),
            AdaptiveProjectedGuidance(SCALE, -0.5, 4.0, eta=0.25),
        ),
        "apg in an interval, without momentum and threshold": (
            Guider("apg", eta=0.0, momentum=0.0, norm_threshold=0.0, start=0.2, stop=0.9),
            AdaptiveProjectedGuidance(SCALE, None, 0.0, eta=0.0, start=0.2, stop=0.9),
        ),
        "autoguidance": (
            Guider("autoguidance", weak=f"skip:{BLOCKS[family]}:0", start=0.0, stop=1.0),
            AutoGuidance(SCALE, auto_guidance_config=skip),
        ),
        "cfg_zero_star": (Guider("cfg_zero_star", **zero), ClassifierFreeZeroStarGuidance(SCALE, **zero)),
    }


NAMES = tuple(guiders("sd"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The embedded model at 8 steps, and a tiny Stable Diffusion 3."""
    suite = load_suite("shapes")
    suite = suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"steps": STEPS})})
    small = tiny_suite("FlowMatchEulerDiscreteScheduler", STEPS)
    small.model.family = "sd3"
    found = {
        "sd": load_model(resolve("shapes:pipeline"), suite),
        "sd3": load_model(family_pipeline("sd3", tmp_path_factory.mktemp("sd3") / "pipeline"), small),
    }
    for family, model in found.items():
        model.add_weak("weak", "base", (BLOCKS[family], (0,)))
    return found


def ours(model: Any, guider: Guider, items: Any = ITEMS, guidance: float = SCALE) -> Tensor:
    actions = with_guider(actions_of([0.0] * STEPS, ("base", guidance)), guider, "weak")
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, items))
    return latents


@torch.inference_mode()
def plain_loop(model: Any, guider: Any) -> Tensor:
    """Diffusers' scheduler and guider, the network called as its pipelines do: both halves in one batch."""
    scheduler, cond = model.new_scheduler(), model.encode([item[1] for item in ITEMS])
    latents = initial_noise(7, IDS, SAMPLES, model.latents_shape) * getattr(scheduler, "init_noise_sigma", 1.0)
    for index, t in enumerate(scheduler.timesteps):
        guider.set_state(index, STEPS, t)
        inputs = scheduler.scale_model_input(latents, t) if hasattr(scheduler, "scale_model_input") else latents
        outputs = _evaluated(model, guider, inputs, t, cond)
        guider.prepare_inputs({"latents": inputs})  # where the momentum begins anew
        noise = {"generator": generators(7, IDS, SAMPLES, index + 1)}
        latents = scheduler.step(guider.forward(*outputs).pred, t, latents, **noise, return_dict=False)[0]
    return latents


def _evaluated(model: Any, guider: Any, inputs: Tensor, t: Tensor, cond: Any) -> tuple[Tensor, ...]:
    states = dict(cond.states)
    if isinstance(guider, AutoGuidance):
        outputs = []
        for _ in range(guider.num_conditions):
            with _weak(model.network, guider, first=not outputs):
                outputs.append(model._evaluate(model.network, inputs, t, states))
        return tuple(outputs)
    if guider.num_conditions == 1:
        return (model._evaluate(model.network, inputs, t, states),)
    both = {name: torch.cat([cond.empty[name].expand_as(one), one]) for name, one in states.items()}
    without, with_text = model._evaluate(model.network, torch.cat([inputs, inputs]), t, both).chunk(2)
    return with_text, without


@contextlib.contextmanager
def _weak(network: Any, guider: Any, first: bool) -> Iterator[None]:
    """Diffusers' own way of leaving out a block; of SD3 it mixes up the two states, so that this is by hand."""
    if hasattr(network, "mid_block"):
        guider.prepare_models(network)
        yield
        guider.cleanup_models(network)
        return
    block = network.transformer_blocks[0]
    if not first:
        block.forward = lambda hidden_states, encoder_hidden_states, **_: (encoder_hidden_states, hidden_states)
    yield
    if not first:
        del block.forward


def moved(model: Any, latents: Tensor, other: Tensor) -> float:
    """Mean absolute difference of pictures, in 0..1."""
    return float((model.decode(latents).float() - model.decode(other).float()).abs().mean()) / 255


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd", "sd3"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_diffusers_guider(models: dict[str, Any], family: str, name: str) -> None:
    guider, theirs = guiders(family)[name]
    model = models[family]
    latents, expected = ours(model, guider), plain_loop(model, theirs)
    assert torch.equal(latents, expected), float((latents - expected).abs().max())
    if family == "sd" and name != "plain":
        assert moved(model, latents, ours(model, Guider())) >= 0.05


@pytest.mark.slow
def test_the_momentum_is_what_moves(models: dict[str, Any]) -> None:
    """Each setting of APG acts: a state that were lost between steps would be seen."""
    whole = guiders("sd")["apg"][0]
    result = ours(models["sd"], whole)
    for change in ({"momentum": 0.0}, {"eta": 1.0}, {"norm_threshold": 0.0}):
        assert not torch.equal(result, ours(models["sd"], dataclasses.replace(whole, **change))), change


@pytest.mark.slow
def test_cads_equals_a_plain_loop_and_depends_on_no_neighbour(models: dict[str, Any]) -> None:
    model = models["sd"]
    guider = Guider("cads", tau1=0.4, tau2=0.9, noise_scale=0.5, psi=0.75)
    latents = ours(model, guider, guidance=SCALE)
    assert moved(model, latents, ours(model, Guider())) >= 0.05
    scheduler, clean = model.new_scheduler(), model.encode([item[1] for item in ITEMS])
    text = clean.states["text"]
    z = initial_noise(7, IDS, SAMPLES, model.latents_shape)
    with torch.inference_mode():
        for index, t in enumerate(scheduler.timesteps):
            left = 1 - index / STEPS
            gamma = min(1.0, max(0.0, (0.9 - left) / (0.9 - 0.4)))
            rows = []
            for row, prompt_id, sample in zip(text, IDS, SAMPLES, strict=True):
                stream = torch.Generator().manual_seed(noise_seed(7, prompt_id, sample, index + 1, "prompt"))
                changed = gamma**0.5 * row + 0.5 * (1 - gamma) ** 0.5 * torch.randn(row.shape, generator=stream)
                restored = (changed - changed.mean()) / changed.std() * row.std() + row.mean()
                rows.append(0.75 * restored + 0.25 * changed if gamma < 1 else row)
            states = torch.cat([clean.empty["text"].expand_as(text), torch.stack(rows)])
            without, with_text = model.unet(torch.cat([z, z]), t, encoder_hidden_states=states).sample.chunk(2)
            guided = without + SCALE * (with_text - without)
            z = scheduler.step(guided, t, z, generator=generators(7, IDS, SAMPLES, index + 1)).prev_sample
    assert float((latents - z).abs().max()) <= 1e-3 * float(z.abs().max())
    alone = ours(model, guider, ITEMS[1:2])
    assert float((alone[0] - latents[1]).abs().max()) <= 1e-3 * float(z.abs().max())


@pytest.mark.slow
def test_branches_keep_their_own_momentum(models: dict[str, Any]) -> None:
    """A trunk with a state forks: each branch equals its method run alone, and shared steps are evaluated once."""
    model, first = models["sd"], guiders("sd")["apg"][0]
    base = actions_of([0.0] * STEPS, ("base", SCALE))
    methods = {
        "all": with_guider(base, first),
        "half": with_guider(base, dataclasses.replace(first, stop=0.5)),
        "most": with_guider(base, dataclasses.replace(first, stop=0.8)),
        "plain": base,
    }
    tree, counted = build_tree(methods), Counter[str]()
    results = dict(run_tree(model, tree, as_batch(model, 7, ITEMS), counted))
    for name, actions in methods.items():
        ((_, alone),) = run_tree(model, build_tree({name: actions}), as_batch(model, 7, ITEMS))
        assert torch.equal(results[(name,)], alone), name
    assert dict(counted) == {name: count * len(ITEMS) for name, count in executed(tree).items() if count}
    assert sum(counted.values()) == len(ITEMS) * (2 * 8 + (4 - 2) + 2 + 2 * 8 + 2)


def test_evaluations() -> None:
    base = actions_of([0.0] * 10, ("base", SCALE))

    def count(guider: Guider) -> int:
        return needed({"run": with_guider(base, guider, "weak")})["run"]

    assert count(Guider()) == 20
    assert count(Guider("interval", start=0.25, stop=0.8)) == 20 - 2 - 2
    assert count(Guider("apg", eta=0.0, momentum=0.0, norm_threshold=0.0, start=0.0, stop=0.5)) == 15
    assert count(Guider("autoguidance", weak="x", start=0.0, stop=1.0)) == 20
    assert count(Guider("cfg_zero_star", zero_init_steps=3, start=0.0, stop=1.0)) == 14
    assert count(Guider("cads", tau1=0.2, tau2=0.9, noise_scale=0.1, psi=1.0)) == 20


def test_a_network_with_embedded_guidance_is_refused() -> None:
    actions = actions_of([0.0] * 4, ("base", 5.0, True))
    with pytest.raises(UsageError, match="takes its guidance as an input"):
        with_guider(actions, Guider("interval", start=0.0, stop=0.5))
    noisy = with_guider(actions, Guider("cads", tau1=0.6, tau2=0.9, noise_scale=1.0, psi=1.0))
    assert noisy[2:] == actions[2:]  # CADS needs no second prediction
    assert noisy[:2] != actions[:2]


def test_blocks_that_are_not_there_are_named(models: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no transformer blocks at 'transformer_blocks' .it has .*mid_block"):
        models["sd"].add_weak("other", "base", ("transformer_blocks", (0,)))
    with pytest.raises(UsageError, match="there is no block 4"):
        models["sd"].add_weak("other", "base", (BLOCKS["sd"], (4,)))


def test_a_weak_checkpoint_takes_part(models: dict[str, Any], tmp_path: Path) -> None:
    model = models["sd"]
    model.add_network("other", resolve("shapes:refl"))
    guider = Guider("autoguidance", weak="other", start=0.0, stop=1.0)
    actions = with_guider(actions_of([0.0] * STEPS, ("base", 2.0)), guider, "other")
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, ITEMS))
    mixed = actions_of([0.0] * STEPS, ("base", 1.0))
    ((_, plain),) = run_tree(model, build_tree({"run": mixed}), as_batch(model, 7, ITEMS))
    assert moved(model, latents, plain) >= 0.05
