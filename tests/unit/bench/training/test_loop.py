"""The training steps on a tiny random model: where gradient flows, what is written, what is refused."""

from __future__ import annotations

import copy
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import BenchError, MissingError, UsageError
from bench.models.base import Network
from bench.models.sd import StableDiffusion
from bench.suite import Suite, load_suite
from bench.training import loop
from bench.training.data import PromptData, ShapesData
from bench.training.loop import Trainer, base_step, check_recipe, draft_step, imagerefl_step, refl_step, run_steps, save
from bench.training.options import TrainOptions
from bench.training.recipes import TrainRecipe, recipe_for
from bench.training.rollout import TUNED

if TYPE_CHECKING:
    from conftest import TinySuite

RECIPE = TrainRecipe(
    steps=2, learning_rate=1e-3, batch_size=2, start_step=5, grad_steps=(6, 6), last_steps=2, diffusion_weight=0.5
)


class Brightness:
    """A reward anybody can differentiate: mean red minus mean blue."""

    def score_pixels(self, pixels: Tensor, prompts: list[str]) -> Tensor:
        assert len(prompts) == len(pixels)
        return (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2))


@pytest.fixture
def suite(tiny_suite: TinySuite) -> Suite:
    return load_suite(tiny_suite.toml)


@pytest.fixture
def trainer(suite: Suite) -> Trainer:
    model = StableDiffusion.load(Path(suite.model.weights), suite)
    model.networks[TUNED] = Network(copy.deepcopy(model.unet).requires_grad_(True))
    return Trainer(model, model.new_scheduler(), Brightness(), ShapesData(), RECIPE, suite)


def gradient(trainer: Trainer, loss: Tensor) -> Tensor:
    module = trainer.model.networks[TUNED].module
    module.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def streams() -> tuple[np.random.Generator, torch.Generator]:
    return np.random.default_rng(7), torch.Generator().manual_seed(8)


def reference_x0(trainer: Trainer, latents: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """(prediction, x0) of the tuned network, written out with the schedule's own formula."""
    output = trainer.model.networks[TUNED].module(latents, t, encoder_hidden_states=text).sample
    signal = trainer.scheduler.alphas_cumprod[int(t)]
    if trainer.scheduler.config.prediction_type == "v_prediction":
        return output, signal.sqrt() * latents - (1 - signal).sqrt() * output
    return output, (latents - (1 - signal).sqrt() * output) / signal.sqrt()


def decoded(trainer: Trainer, latents: Tensor) -> Tensor:
    vae = trainer.model.vae
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


def test_refl_gradient_flows_through_one_step_only(trainer: Trainer) -> None:
    found = gradient(trainer, refl_step(trainer, *streams())[0])
    rng, generator = streams()
    captions = trainer.data.captions(2, rng)
    text = trainer.model.encode(captions).states["text"]
    rng.integers(6, 7)
    latents = torch.randn((2, *trainer.model.latents_shape), generator=generator)
    with torch.no_grad():
        for place in range(6):
            t = trainer.scheduler.timesteps[place]
            output = trainer.model.networks[TUNED].module(latents, t, encoder_hidden_states=text).sample
            latents = trainer.scheduler.step(output, t, latents, generator=generator).prev_sample
    _, x0 = reference_x0(trainer, latents, trainer.scheduler.timesteps[6], text)
    pixels = decoded(trainer, x0)
    reward = (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2))
    expected = gradient(trainer, -1e-3 * reward.mean())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert float(expected.abs().max()) > 0


def test_imagerefl_gradient_is_reward_plus_denoising_at_s(trainer: Trainer) -> None:
    found = gradient(trainer, imagerefl_step(trainer, *streams())[0])
    rng, generator = streams()
    pictures, captions = trainer.data.pictures(2, rng)
    text = trainer.model.encode(captions).states["text"]
    vae, scheduler = trainer.model.vae, trainer.scheduler
    with torch.no_grad():
        clean = vae.encode(pictures).latent_dist.sample(generator) * vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=generator)
    t_s, t_m = scheduler.timesteps[5], scheduler.timesteps[6]
    signal = scheduler.alphas_cumprod[int(t_s)]
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    output, x0_s = reference_x0(trainer, noisy, t_s, text)
    predicted_noise = (noisy - signal.sqrt() * x0_s) / (1 - signal).sqrt()
    with torch.no_grad():
        latents = scheduler.step(output, t_s, noisy, generator=generator).prev_sample
    pixels = decoded(trainer, reference_x0(trainer, latents, t_m, text)[1])
    reward = (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2))
    expected = gradient(trainer, 1e-3 * (-reward.mean() + 0.5 * (predicted_noise - noise).square().mean()))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_base_step_learns_from_pictures(trainer: Trainer) -> None:
    loss, rewards = base_step(trainer, *streams())
    assert rewards is None
    assert loss.item() > 0
    assert float(gradient(trainer, loss).abs().max()) > 0


def test_draft_differs_from_refl_in_depth(trainer: Trainer) -> None:
    deep = gradient(trainer, draft_step(trainer, *streams())[0])
    trainer.recipe = replace(RECIPE, last_steps=1)
    shallow = gradient(trainer, draft_step(trainer, *streams())[0])
    assert not torch.allclose(deep, shallow)


def test_only_the_tuned_network_learns_and_the_log_is_written(trainer: Trainer, tmp_path: Path) -> None:
    module = trainer.model.networks[TUNED].module
    before = {k: v.clone() for k, v in trainer.model.unet.state_dict().items()}
    start = {k: v.clone() for k, v in module.state_dict().items()}
    assert list(run_steps(trainer, refl_step, 0, tmp_path / "log.csv")) == [1, 2]
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.unet.state_dict().items())
    assert any(not torch.equal(v, start[k]) for k, v in module.state_dict().items())
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(float(row["gradient_norm"]) > 0 for row in rows)


def test_a_seed_names_the_whole_training(trainer: Trainer, suite: Suite, tmp_path: Path) -> None:
    first = copy.deepcopy(trainer.model.networks[TUNED].module)
    for _ in run_steps(trainer, imagerefl_step, 3, tmp_path / "a.csv"):
        pass
    once = trainer.model.networks[TUNED].module.state_dict()
    trainer.model.networks[TUNED] = Network(first)
    for _ in run_steps(trainer, imagerefl_step, 3, tmp_path / "b.csv"):
        pass
    again = trainer.model.networks[TUNED].module.state_dict()
    assert all(torch.equal(once[k], again[k]) for k in once)


def test_a_gradient_that_is_not_finite_stops(trainer: Trainer, tmp_path: Path) -> None:
    def bad(trainer: Trainer, *_: Any) -> tuple[Tensor, None]:
        parameter = next(iter(trainer.model.networks[TUNED].module.parameters()))
        return parameter.sum() * float("nan"), None

    with pytest.raises(BenchError, match="step 1: the gradient is not finite"):
        list(run_steps(trainer, bad, 0, tmp_path / "log.csv"))


def test_save_replaces_whole(trainer: Trainer, tmp_path: Path) -> None:
    out = tmp_path / "checkpoint"
    for step in (1, 2):
        save(trainer.model.networks[TUNED].module, out, {"step": step})
        assert json.loads((out / "training.json").read_text()) == {"step": step}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    trainer.model.add_network("again", out)


def test_steps_outside_the_schedule_are_refused(suite: Suite) -> None:
    with pytest.raises(UsageError, match="grad_steps 8 is outside the 8 steps"):
        check_recipe(replace(RECIPE, grad_steps=(6, 8)), suite)
    check_recipe(RECIPE, suite)


def test_options_win_over_the_recipe() -> None:
    options = TrainOptions("refl", steps=7, learning_rate=1e-6)
    recipe = recipe_for(options, None)
    assert (recipe.steps, recipe.learning_rate, recipe.batch_size) == (7, 1e-6, 32)
    assert recipe_for(TrainOptions("refl"), "shapes").batch_size != 32


def test_prompt_data_has_no_pictures(suite: Suite) -> None:
    data = PromptData(suite)
    assert set(data.captions(20, np.random.default_rng(0))) == {
        "a red circle",
        "a blue square on a white background",
        "a large green star",
    }
    with pytest.raises(MissingError, match="needs real pictures"):
        data.pictures(1, np.random.default_rng(0))


def test_a_finished_training_is_not_repeated(
    tiny_suite: TinySuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "recipe_for", lambda options, label: RECIPE)
    monkeypatch.setattr(loop, "data_for", lambda suite: ShapesData())
    options = TrainOptions("base", suite=str(tiny_suite.toml), out=tmp_path / "base")
    assert loop.train("base", options) == tmp_path / "base"
    assert loop.train("base", options) is None
    with pytest.raises(UsageError, match="holds something else"):
        loop.train("base", replace(options, seed=9))
