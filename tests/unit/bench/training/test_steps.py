"""Each objective's gradient against a plain reference, written out with the schedule's own formulas.

The references know nothing of `bench.training`: they use diffusers' schedulers for single steps, alphas_cumprod or
sigmas for x0, and the papers' formulas for the losses. Relative errors are of the whole gradient vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.models.base import BASE
from bench.training.rollout import TUNED
from bench.training.steps import Draws, Trainer, base_step, draft_step, imagerefl_step, refl_step
from tests.tolerance import assert_close
from tests.unit.bench.training.worlds import (
    RECIPE,
    STEPS,
    brightness,
    draws,
    flow_trainer,
    gradient,
    relative_error,
    sd_trainer,
)

TOLERANCE = 1e-4
KINDS = ["epsilon", "v_prediction", "flow"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trainer]:
    folder = tmp_path_factory.mktemp("worlds")

    def make(kind: str) -> Trainer:
        return flow_trainer() if kind == "flow" else sd_trainer(folder, kind)

    return make


class Plain:
    """The reference: one network, one scheduler, arithmetic by hand."""

    def __init__(self, trainer: Trainer, captions: list[str], generator: torch.Generator) -> None:
        self.trainer, self.generator = trainer, generator
        self.text = trainer.model.encode(captions).states["text"].clone()
        self.scheduler: Any = trainer.model.new_scheduler()
        self.flow = not hasattr(self.scheduler, "alphas_cumprod")

    def level(self, index: int) -> tuple[Tensor, Tensor]:
        """(a, b) of z = a x0 + b eps."""
        if self.flow:
            sigma = self.scheduler.sigmas[index]
            return 1 - sigma, sigma
        kept = self.scheduler.alphas_cumprod[int(self.scheduler.timesteps[index])]
        return kept.sqrt(), (1 - kept).sqrt()

    def output(self, latents: Tensor, index: int, network: str = TUNED) -> Tensor:
        module: Any = self.trainer.model.networks[network].module
        t = self.scheduler.timesteps[index]
        if self.flow:
            return module(latents, t, self.text)
        return module(latents, t, encoder_hidden_states=self.text).sample

    def x0(self, output: Tensor, latents: Tensor, index: int) -> Tensor:
        a, b = self.level(index)
        if self.flow:
            return latents - b * output
        if self.scheduler.config.prediction_type == "v_prediction":
            return a * latents - b * output
        return (latents - b * output) / a

    def step(self, latents: Tensor, index: int) -> Tensor:
        t = self.scheduler.timesteps[index]
        if self.flow:  # Euler's step of dz/dsigma = v
            return latents + (self.scheduler.sigmas[index + 1] - self.scheduler.sigmas[index]) * self.output(
                latents, index
            )
        return self.scheduler.step(self.output(latents, index), t, latents, generator=self.generator).prev_sample

    def pixels(self, latents: Tensor) -> Tensor:
        model: Any = self.trainer.model
        if self.flow:
            return model.decode_pixels(latents)
        return (model.vae.decode(latents / model.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)

    def noise(self) -> Tensor:
        return torch.randn((2, *self.trainer.model.latents_shape), generator=self.generator)

    def encoded(self, pictures: Tensor) -> Tensor:
        model: Any = self.trainer.model
        if self.flow:
            return model.encode_pixels(pictures, self.generator)
        with torch.no_grad():
            return model.vae.encode(pictures).latent_dist.sample(self.generator) * model.vae.config.scaling_factor


def plain_trajectory(trainer: Trainer, use: Draws) -> tuple[Plain, Tensor]:
    plain = Plain(trainer, trainer.data.captions(2, use.rng), use.generator)
    return plain, plain.noise()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_refl(made: Callable[[str], Trainer], kind: str) -> None:
    trainer = made(kind)
    found = gradient(trainer, refl_step(trainer, draws()).loss)
    plain, latents = plain_trajectory(trainer, draws())
    with torch.no_grad():
        for index in range(6):
            latents = plain.step(latents, index)
    x0 = plain.x0(plain.output(latents, 6), latents, 6)
    expected = gradient(trainer, -1e-3 * brightness(plain.pixels(x0)).mean())
    assert relative_error(found, expected) < TOLERANCE
    trainer.recipe = replace(RECIPE, reward_loss="hinge")
    assert relative_error(gradient(trainer, refl_step(trainer, draws()).loss), expected) < TOLERANCE, "r is below 2"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [1, 3])
def test_draft_k(made: Callable[[str], Trainer], kind: str, last: int) -> None:
    trainer = made(kind)
    trainer.recipe = replace(RECIPE, last_steps=last)
    found = gradient(trainer, draft_step(trainer, draws()).loss)
    plain, latents = plain_trajectory(trainer, draws())
    with torch.no_grad():
        for index in range(STEPS - last):
            latents = plain.step(latents, index)
    for index in range(STEPS - last, STEPS - 1):
        latents = plain.step(latents, index)
    x0 = plain.x0(plain.output(latents, STEPS - 1), latents, STEPS - 1)
    expected = gradient(trainer, -1e-3 * brightness(plain.pixels(x0)).mean())
    assert relative_error(found, expected) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_draft_lv(made: Callable[[str], Trainer], kind: str) -> None:
    trainer = made(kind)
    trainer.recipe = replace(RECIPE, last_steps=1, copies=2)
    found = gradient(trainer, draft_step(trainer, draws()).loss)
    plain, latents = plain_trajectory(trainer, draws())
    last = STEPS - 1
    with torch.no_grad():
        for index in range(last):
            latents = plain.step(latents, index)
    x0 = plain.x0(plain.output(latents, last), latents, last)
    loss = -1e-3 * brightness(plain.pixels(x0)).mean()
    a, b = plain.level(last)
    for _ in range(2):
        again = a * x0.detach() + b * torch.randn(x0.shape, generator=plain.generator)
        loss = loss - 1e-3 * brightness(plain.pixels(plain.x0(plain.output(again, last), again, last))).mean()
    assert relative_error(found, gradient(trainer, loss / 3)) < TOLERANCE


def plain_imagerefl(trainer: Trainer, use: Draws) -> dict[str, Tensor]:
    """The terms of ImageReFL's loss, s = 5, m = 6."""
    pictures, captions = trainer.data.pictures(2, use.rng)
    plain = Plain(trainer, captions, use.generator)
    clean = plain.encoded(pictures)
    noise = torch.randn(clean.shape, generator=use.generator)
    a, b = plain.level(5)
    noisy = a * clean + b * noise
    x0_s = plain.x0(plain.output(noisy, 5), noisy, 5)
    terms = {"denoising": (((noisy - a * x0_s) / b) - noise).square().mean()}
    with torch.no_grad():
        latents = plain.step(noisy, 5)
        base = plain.output(latents, 6, BASE)
    output = plain.output(latents, 6)
    x0 = plain.x0(output, latents, 6)
    images = plain.pixels(x0)
    terms["reward"] = brightness(images).mean()
    terms["l2"] = (output - base).square().mean()
    (a, b), (a_next, b_next) = plain.level(6), plain.level(7)
    gain = (a_next / b_next) ** 2 - (a / b) ** 2
    terms["kl"] = 0.5 * gain * (x0 - plain.x0(base, latents, 6)).square().mean()
    made, real = ((2 * x - 1)[..., ::4, ::4].flatten(1) for x in (images, pictures / 2 + 0.5))
    terms["clip"] = (1 - (made * real).sum(1) / (made.norm(dim=1) * real.norm(dim=1))).mean()
    return terms


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("term", ["denoising", "clip", "kl", "l2"])
def test_imagerefl_and_each_regulariser(made: Callable[[str], Trainer], kind: str, term: str) -> None:
    trainer = made(kind)
    weights = dict.fromkeys(("diffusion_weight", "clip_weight", "kl_weight", "l2_weight"), 0.0)
    name = {"denoising": "diffusion_weight"}.get(term, f"{term}_weight")
    trainer.recipe = replace(RECIPE, **{**weights, name: 0.5})  # type: ignore[arg-type]
    outcome = imagerefl_step(trainer, draws())
    found = gradient(trainer, outcome.loss)
    terms = plain_imagerefl(trainer, draws())
    expected = gradient(trainer, 1e-3 * (-terms["reward"] + 0.5 * terms[term]))
    assert relative_error(found, expected) < 10 * TOLERANCE  # decoding twice amplifies the last bits
    assert float(outcome.terms[term]) == pytest.approx(float(terms[term].detach()), rel=1e-3)
    assert float(expected.norm()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_base(made: Callable[[str], Trainer], kind: str) -> None:
    trainer, use = made(kind), draws()
    outcome = base_step(trainer, draws())
    assert outcome.rewards is None
    pictures, captions = trainer.data.pictures(2, use.rng)
    captions = ["" if use.rng.random() < 0.1 else text for text in captions]
    plain = Plain(trainer, captions, use.generator)
    clean = plain.encoded(pictures)
    noise = torch.randn(clean.shape, generator=use.generator)
    module: Any = trainer.model.networks[TUNED].module
    if kind == "flow":
        sigma = torch.randn(2, generator=use.generator).sigmoid()
        column = sigma[:, None, None, None]
        output = module((1 - column) * clean + column * noise, sigma * 1000, plain.text)
        target = noise - clean
    else:
        times = torch.randint(0, 1000, (2,), generator=use.generator)
        noisy = plain.scheduler.add_noise(clean, noise, times)
        output = module(noisy, times, encoder_hidden_states=plain.text).sample
        target = plain.scheduler.get_velocity(clean, noise, times) if kind == "v_prediction" else noise
    expected = gradient(trainer, (output - target).square().mean())
    assert relative_error(gradient(trainer, outcome.loss), expected) < TOLERANCE


@pytest.mark.parametrize("step", [refl_step, draft_step, imagerefl_step])
def test_finite_differences_agree(step: Callable[[Trainer, Draws], Any]) -> None:
    """For the largest derivative of each tensor: the objective's value moves as its gradient says.

    Steps before m carry no gradient, so ReFL is taken at m = 0, ImageReFL at m = s, DRaFT through all steps.
    """
    trainer = flow_trainer(replace(RECIPE, last_steps=STEPS, grad_steps=(0, 0) if step is refl_step else (5, 5)))
    gradient(trainer, step(trainer, draws()).loss)
    for parameter in trainer.model.networks[TUNED].module.parameters():
        assert parameter.grad is not None
        index = int(parameter.grad.abs().argmax())
        slope, size, values = float(parameter.grad.flatten()[index]), 0.02, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[index] += sign * size
            values.append(float(step(trainer, draws()).loss.detach()))
            with torch.no_grad():
                parameter.view(-1)[index] -= sign * size
        assert (values[0] - values[1]) / (2 * size) == pytest.approx(slope, rel=0.01)


def test_gradient_flows_through_the_step_meant_and_no_other(made: Callable[[str], Trainer]) -> None:
    """Which network calls have gradient: one at m for ReFL; at s and m for ImageReFL; the last K for DRaFT."""
    trainer = made("v_prediction")
    model: Any = trainer.model
    seen: list[tuple[int, bool]] = []
    whole = model.predict

    def watched(network: str, latents: Tensor, t: Tensor, *rest: Any) -> Tensor:
        output: Tensor = whole(network, latents, t, *rest)
        times = [int(time) for time in model.new_scheduler().timesteps]
        seen.append((times.index(int(t)), output.requires_grad))
        assert not latents.requires_grad or rest_of_draft, "no gradient comes through the steps before"
        return output

    model.predict = watched
    rest_of_draft = False
    refl_step(trainer, draws())
    assert [index for index, with_gradient in seen if with_gradient] == [6]
    assert [index for index, _ in seen] == list(range(7))
    seen.clear()
    imagerefl_step(trainer, draws())
    assert seen == [(5, True), (5, False), (6, True)]
    seen.clear()
    rest_of_draft = True
    draft_step(trainer, draws())
    assert [index for index, with_gradient in seen if with_gradient] == [6, 7]


def test_the_official_step_too_many(made: Callable[[str], Trainer]) -> None:
    trainer = made("v_prediction")
    model: Any = trainer.model
    indices: list[int] = []
    whole = model.predict

    def watched(network: str, latents: Tensor, t: Tensor, *rest: Any) -> Tensor:
        indices.append([int(time) for time in model.new_scheduler().timesteps].index(int(t)))
        return whole(network, latents, t, *rest)  # type: ignore[no-any-return]

    model.predict = watched
    for off_by_one, expected in ((False, [5, 5]), (True, [5, 4, 5])):
        indices.clear()
        trainer.recipe = replace(RECIPE, grad_steps=(5, 5), off_by_one=off_by_one)
        imagerefl_step(trainer, draws())
        assert indices == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_the_official_codes_step_too_many_where_steps_are_counted(tmp_path: Path, name: str) -> None:
    """Step s - 1 at its own noise level, on latents that are at s, and then m = s at its own."""
    trainer = sd_trainer(tmp_path, "epsilon", name, replace(RECIPE, grad_steps=(5, 5), off_by_one=True))
    model: Any = trainer.model
    inputs: list[Tensor] = []
    said: list[Tensor] = []
    whole = model.predict

    def watched(network: str, z: Tensor, *rest: Any) -> Tensor:
        inputs.append(z.detach())
        said.append(whole(network, z, *rest))
        return said[-1]

    model.predict = watched
    imagerefl_step(trainer, draws())
    (before, at), eps = model.new_scheduler().sigmas[4:6], said[1].detach()
    if name.startswith("Euler"):  # latents are x0 + sigma eps
        latents = inputs[0] * (1 + at**2).sqrt()
        expected = [latents / (1 + before**2).sqrt(), (latents + eps * (at - before)) / (1 + at**2).sqrt()]
    else:  # latents are what the network sees; DPM-Solver's first step is DDIM's
        keeps_before, keeps = (1 + before**2).rsqrt(), (1 + at**2).rsqrt()
        clean = (inputs[0] - before * keeps_before * eps) / keeps_before
        expected = [inputs[0], keeps * clean + at * keeps * eps]
    for seen, wanted in zip(inputs[1:], expected, strict=True):
        assert_close(seen, wanted)


def test_every_nth_batch_is_plain_refl(made: Callable[[str], Trainer]) -> None:
    trainer = made("flow")
    trainer.recipe = replace(RECIPE, refl_every=3)
    kinds = ["refl" if not imagerefl_step(trainer, draws(number)).terms else "image" for number in range(1, 7)]
    assert kinds == ["image", "image", "refl", "image", "image", "refl"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler"])
def test_other_schedulers_enter_at_s(tmp_path: Path, name: str) -> None:
    """A trajectory from a real picture at little noise ends near the picture's own reward under a good denoiser.

    Here the denoiser is exact: it says the noise that leads back to the picture, so x0 must be the picture.
    """
    trainer = sd_trainer(tmp_path, "epsilon", name)
    model: Any = trainer.model
    kept: dict[str, Tensor] = {}
    use = draws()
    pictures, captions = trainer.data.pictures(2, use.rng)
    way = trainer.rollout(captions, use.generator)
    clean = model.vae.encode(pictures).latent_dist.mean.detach() * model.vae.config.scaling_factor
    eps = use.noise_like(clean)

    def exact(network: str, z: Tensor, t: Tensor, *rest: Any) -> Tensor:
        a, b = kept["a"], kept["b"]
        return (z - a * clean) / b

    model.predict = exact
    from bench.models.parameterisation import to_latents

    s = 5
    way.begin(s)
    latents = to_latents(way.scheduler, way.mix(s).noised(clean, eps), s)
    for index in range(s, STEPS):
        kept["a"], kept["b"] = way.mix(index).signal, way.mix(index).noise
        assert_close(way.clean_estimate(latents, index), clean, 1e-4)
        latents = way.step(latents, index)
