"""Samplers that couple the images of a prompt, against their formulas in a plain loop with diffusers' scheduler."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.methods.coupling import Coupling, coupling
from bench.models.load import load_model
from bench.models.parameterisation import Mix
from bench.models.weights import resolve
from bench.sampling.coupling import coupled, repulsion, shielded
from bench.sampling.guided_steps import with_coupling
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import actions_of, build_tree
from bench.suite.load import load_suite
from tests.tolerance import FLOAT32, assert_close
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.tiny import tiny_suite

STEPS, SCALE = 8, 3.5
ITEMS = [(name, text, k) for name, text in (("p", "a large red circle"), ("q", "a small blue star")) for k in range(3)]
IDS, SAMPLES = [item[0] for item in ITEMS], [item[2] for item in ITEMS]
COUPLINGS = [coupling("particle_guidance", repulsion=0.02), coupling("spell", shield=0.7, overshoot=1.5)]


@pytest.fixture(scope="module")
def model() -> Any:
    suite = load_suite("shapes")
    return load_model(
        resolve("shapes:pipeline"),
        suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"steps": STEPS})}),
    )


def ours(model: Any, how: Coupling | None, items: Any = ITEMS) -> Tensor:
    actions = with_coupling(actions_of([0.0] * STEPS, ("base", SCALE)), how)
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, items))
    return latents


def by_hand(how: Coupling, x: Tensor, z: Tensor, sigma: float) -> Tensor:
    """How far the clean latents of a prompt's images [K, ...] are pushed; x and z are [K, ...] as well."""
    found = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        if how.kind == "spell":
            away = x[i] - x[others]
            squared = away.flatten(1).square().sum(dim=1)
            weight = (0.7 * math.sqrt(x[0].numel()) / squared.sqrt() - 1).relu()
        else:
            away = z[i] - z[others]
            squared = away.flatten(1).square().sum(dim=1)
            h = squared.median() / math.log(len(z))
            weight = (-squared / h).exp() * 2 / h
        found.append((weight.view(-1, 1, 1, 1) * away).sum(dim=0))
    scale = 1.5 if how.kind == "spell" else 0.02 * z[0].numel() * min(sigma, 15.0) ** 2
    return scale * torch.stack(found)


@torch.inference_mode()
def plain_loop(model: Any, how: Coupling) -> Tensor:
    """The embedded model says v = a eps - b x0, so that x0 = a z - b v, and x0 + d means v - d / b."""
    scheduler, cond = model.new_scheduler(), model.encode([item[1] for item in ITEMS])
    text = cond.states["text"]
    states = torch.cat([cond.empty["text"].expand_as(text), text])
    z = initial_noise(7, IDS, SAMPLES, model.latents_shape)
    for index, t in enumerate(scheduler.timesteps):
        kept = scheduler.alphas_cumprod[t]
        a, b = kept.sqrt(), (1 - kept).sqrt()
        without, with_text = model.unet(torch.cat([z, z]), t, encoder_hidden_states=states).sample.chunk(2)
        v = without + SCALE * (with_text - without)
        if how.kind == "spell" or float(b / a) >= 1:
            shifts = [by_hand(how, (a * z - b * v)[rows], z[rows], float(b / a)) for rows in ([0, 1, 2], [3, 4, 5])]
            v = v - torch.cat(shifts) / b
        z = scheduler.step(v, t, z, generator=generators(7, IDS, SAMPLES, index + 1)).prev_sample
    return z


@pytest.mark.slow
@pytest.mark.parametrize("how", COUPLINGS, ids=lambda how: how.kind)
def test_equals_a_plain_loop_bit_for_bit(model: Any, how: Coupling) -> None:
    latents = ours(model, how)
    assert torch.equal(latents, plain_loop(model, how))
    pictures, plain = (model.decode(one).float() for one in (latents, ours(model, None)))
    assert float((pictures - plain).abs().mean()) / 255 >= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("how", COUPLINGS, ids=lambda how: how.kind)
def test_an_image_depends_on_those_of_its_prompt_and_on_no_other(model: Any, how: Coupling) -> None:
    whole = ours(model, how)
    alone = ours(model, how, ITEMS[:3])
    assert float((alone - whole[:3]).abs().max()) <= 1e-3 * float(whole.abs().max())
    fewer = ours(model, how, ITEMS[:2])
    assert float((fewer - whole[:2]).abs().mean()) > 0.02 * float(whole.abs().mean())
    order = [4, 0, 3, 2, 5, 1]  # the prompts of a batch may be mixed
    mixed = ours(model, how, [ITEMS[index] for index in order])
    assert float((mixed - whole[order]).abs().max()) <= 1e-3 * float(whole.abs().max())


@pytest.mark.slow
def test_a_flow_begins_at_pure_noise(tmp_path: Path) -> None:
    """sigma over signal is infinite there: it is taken as 15, and the prediction stays finite."""
    small = tiny_suite("FlowMatchEulerDiscreteScheduler", STEPS)
    small.model.family = "sd3"
    flow = load_model(family_pipeline("sd3", tmp_path / "pipeline"), small)
    for how in (COUPLINGS[0], coupling("spell", shield=3.0)):  # of random weights all are far apart
        latents = ours(flow, how)
        assert bool(latents.isfinite().all())
        assert not torch.equal(latents, ours(flow, None))
    generator = torch.Generator().manual_seed(0)
    z, v = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    mix = Mix("flow", torch.tensor(0.0), torch.tensor(1.0))
    expected = v - 0.02 * 256 * 15.0**2 * repulsion(z, 1.0)
    assert_close(coupled(v, z, mix, COUPLINGS[0], ["p"] * 3), expected, FLOAT32)


def test_where_nothing_acts_the_prediction_is_what_it_was() -> None:
    generator = torch.Generator().manual_seed(0)
    z, said = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    calm = Mix("epsilon", torch.tensor(0.9), torch.tensor(0.4359))
    assert coupled(said, z, calm, COUPLINGS[0], ["p"] * 3) is said  # noise over signal below 1
    far = Mix("sample", torch.tensor(0.6), torch.tensor(0.8))
    assert torch.equal(coupled(100 * said, z, far, COUPLINGS[1], ["p"] * 3), 100 * said)  # outside of all balls
    noise = Mix("epsilon", torch.tensor(0.0), torch.tensor(1.0))
    assert all(coupled(said, z, noise, how, ["p"] * 3) is said for how in COUPLINGS)
    assert coupled(said.half(), z.half(), far, COUPLINGS[1], ["p"] * 3).dtype == torch.float16


def test_two_images_are_pushed_apart_along_the_line_between_them() -> None:
    x = torch.zeros(2, 1, 1, 4)
    x[1, ..., 0] = 1.0
    pushed = shielded(x, 1.0, 1.0)  # r = 2, at distance 1: each by the distance
    assert pushed[:, 0, 0, 0].tolist() == [-1.0, 1.0]
    assert shielded(x, 0.5, 1.0).abs().max() == 0
    pushed = repulsion(x, 1.0)  # h = 1 / log 2, k = 1 / 2
    assert pushed[:, 0, 0, 0].tolist() == pytest.approx([-math.log(2), math.log(2)])
    same = torch.ones(3, 1, 2, 2)
    assert bool(shielded(same, 1.0, 1.0).eq(0).all())
    assert bool(repulsion(same, 1.0).eq(0).all())
