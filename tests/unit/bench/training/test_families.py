"""Training on a tiny pipeline of every family: gradients, and checkpoints through the family's own loader."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.models.base import BASE, Network
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.training.network import make_trainable
from bench.training.optimise import Optimiser
from bench.training.rollout import TUNED
from bench.training.steps import Draws, Trainer, base_step, imagerefl_step, refl_step
from tests.tolerance import assert_close, relative_difference
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.tiny import tiny_suite
from tests.unit.bench.training.worlds import (
    RECIPE,
    STEPS,
    Brightness,
    SmallShapes,
    brightness,
    draws,
    gradient,
    relative_error,
)

FLOW = "FlowMatchEulerDiscreteScheduler"
SCHEDULERS = {
    "sd": "DDPMScheduler",
    "sdxl": "EulerDiscreteScheduler",
    "pixart": "DPMSolverMultistepScheduler",
    "sd3": FLOW,
    "flux": FLOW,
    "flux2": FLOW,
    "z_image": FLOW,
    "qwen_image": FLOW,
    "sana": FLOW,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: family_pipeline(family, root / family) for family in SCHEDULERS}


def load(folders: dict[str, Path], family: str) -> tuple[Any, Any]:
    suite = tiny_suite(SCHEDULERS[family], STEPS)
    suite.model.family = family
    return load_model(folders[family], suite), suite


def trainer_of(folders: dict[str, Path], family: str) -> Trainer:
    model, suite = load(folders, family)
    model.networks[TUNED] = Network(copy.deepcopy(model.networks[BASE].module).requires_grad_(True))
    return Trainer(model, Brightness(), SmallShapes(), RECIPE, suite)


class Plain:
    """The sampler's steps and x0 written out: Euler's by hand, the others' by the scheduler's own conversion."""

    def __init__(self, trainer: Trainer, captions: list[str], use: Draws) -> None:
        self.model: Any = trainer.model
        self.cond, self.generator = self.model.encode(captions), use.generator
        self.scheduler = self.model.new_scheduler()

    def output(self, latents: Tensor, index: int) -> tuple[Tensor, Tensor]:
        t = self.scheduler.timesteps[index]
        z = latents
        if hasattr(self.scheduler, "scale_model_input"):
            z = self.scheduler.scale_model_input(latents, t)
        return self.model.predict(TUNED, z, t, self.cond, 1.0), z

    def step(self, latents: Tensor, index: int) -> Tensor:
        output, _ = self.output(latents, index)
        t = self.scheduler.timesteps[index]
        return self.scheduler.step(output, t, latents, generator=self.generator).prev_sample

    def x0(self, latents: Tensor, index: int) -> Tensor:
        output, z = self.output(latents, index)
        name, t = type(self.scheduler).__name__, self.scheduler.timesteps[index]
        if name == FLOW:
            return z - self.scheduler.sigmas[index] * output
        if name == "EulerDiscreteScheduler":
            return latents - self.scheduler.sigmas[index] * output
        if name == "DPMSolverMultistepScheduler":
            self.scheduler._step_index = index
            return self.scheduler.convert_model_output(output, sample=latents)
        kept = self.scheduler.alphas_cumprod[t]
        return kept.sqrt() * latents - (1 - kept).sqrt() * output


@pytest.mark.slow
@pytest.mark.parametrize("family", SCHEDULERS)
def test_refl_against_a_plain_loop(folders: dict[str, Path], family: str) -> None:
    trainer = trainer_of(folders, family)
    found = gradient(trainer, refl_step(trainer, draws()).loss)
    use = draws()
    plain = Plain(trainer, trainer.data.captions(2, use.rng), use)
    noise = torch.randn((2, *trainer.model.latents_shape), generator=use.generator)
    latents = noise * getattr(plain.scheduler, "init_noise_sigma", 1.0)
    with torch.no_grad(), quiet():
        for index in range(6):
            latents = plain.step(latents, index)
    expected = gradient(trainer, -1e-3 * brightness(trainer.model.decode_pixels(plain.x0(latents, 6))).mean())
    assert float(expected.norm()) > 0
    assert relative_error(found, expected) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", SCHEDULERS)
def test_imagerefl_against_a_plain_loop(folders: dict[str, Path], family: str) -> None:
    trainer = trainer_of(folders, family)
    trainer.recipe = replace(RECIPE, grad_steps=(5, 5), diffusion_weight=0.0)  # m = s: no step between
    found = gradient(trainer, imagerefl_step(trainer, draws()).loss)
    use = draws()
    pictures, captions = trainer.data.pictures(2, use.rng)
    plain = Plain(trainer, captions, use)
    clean = trainer.model.encode_pixels(pictures, use.generator)
    noise = torch.randn(clean.shape, generator=use.generator)
    times = plain.scheduler.timesteps[5:6]
    with quiet():
        if SCHEDULERS[family] == FLOW:
            latents = plain.scheduler.scale_noise(clean, times, noise)
        else:
            latents = plain.scheduler.add_noise(clean, noise, times)
        if hasattr(plain.scheduler, "set_begin_index"):
            plain.scheduler.set_begin_index(5)
        x0 = plain.x0(latents, 5)
    expected = gradient(trainer, -1e-3 * brightness(trainer.model.decode_pixels(x0)).mean())
    assert float(expected.norm()) > 0
    assert relative_error(found, expected) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", SCHEDULERS)
def test_pixels_and_latents(folders: dict[str, Path], family: str) -> None:
    """`decode_pixels` is `decode` before rounding; what is encoded has the latents' shape and scale."""
    model, _ = load(folders, family)
    pictures, _ = SmallShapes().pictures(2, draws().rng)
    latents = model.encode_pixels(pictures, torch.Generator().manual_seed(0))
    assert latents.shape == (2, *model.latents_shape)
    encoded = model._encoded(pictures, torch.Generator().manual_seed(0))
    assert_close(model._unscaled(latents), encoded)
    levels = (model.decode_pixels(latents).detach() * 255).round().to(torch.uint8)
    assert (levels.int() - model.decode(latents).int()).abs().max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("family", SCHEDULERS)
@pytest.mark.parametrize("rank", [0, 2], ids=["whole", "lora"])
def test_what_is_trained_is_what_the_loader_reads(
    folders: dict[str, Path], family: str, rank: int, tmp_path: Path
) -> None:
    model, suite = load(folders, family)
    recipe = replace(RECIPE, lora_rank=rank, lora_alpha=4.0, checkpointing=True, kl_weight=1.0, learning_rate=1e-2)
    trainable = make_trainable(model, recipe, None)
    trainer = Trainer(model, Brightness(), SmallShapes(), recipe, suite)
    optimiser = Optimiser.of(trainable.values(), recipe, "cpu")
    for number in (1, 2):
        step = base_step if number == 1 else imagerefl_step
        optimiser.backward(step(trainer, draws(number)).loss)
        assert optimiser.update() > 0
    trainable.write(tmp_path / "made")
    fresh, _ = load(folders, family)
    fresh.add_network(TUNED, tmp_path / "made")
    trainable.module.eval()
    latents = torch.randn((1, *model.latents_shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cond = model.encode(["a red circle"])
        outputs = {
            (which, name): one.predict(name, latents, torch.tensor(500.0), cond, 1.0)
            for which, one in (("ours", model), ("read", fresh))
            for name in (BASE, TUNED)
        }
    assert relative_difference(outputs["ours", TUNED], outputs["ours", BASE]) > 1e-3
    for name in (BASE, TUNED):
        assert_close(outputs["read", name], outputs["ours", name])
