"""The official code's sampler, as a plain loop over the papers' formulas: DDPM and DDIM, the last step giving x0.

ImageReFL's code samples with DDPM from the repository's scheduler configuration and returns the predicted original at
the last step. Nothing of diffusers' schedulers is used here but their timesteps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.load import load_model
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite

ITEMS = [("p1", "a red circle", 0), ("p2", "a large star", 0)]
IDS, SAMPLES = [item[0] for item in ITEMS], [item[2] for item in ITEMS]
STEPS, SEED = 5, 7
# As Stable Diffusion 1.5 is published.
PUBLISHED = {"set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading", "clip_sample": False}
FINAL = {"final": "predicted_original"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("official") / "pipeline", "epsilon")


def ours(model: Any) -> Tensor:
    tree = build_tree({"run": actions_of([0.0] * STEPS, ("base", 5.0))})
    ((_, latents),) = run_tree(model, tree, as_batch(model, SEED, ITEMS))
    return latents


@torch.inference_mode()
def plain_loop(model: Any, stochastic: bool, last_is_original: bool, times: list[int]) -> Tensor:
    """x_{t-1} from x_t: DDPM's posterior (arXiv 2006.11239, eq. 7) or DDIM's step (arXiv 2010.02502, eq. 12, eta 0)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    alphas = (1 - betas).cumprod(0)
    latents = initial_noise(SEED, IDS, SAMPLES, (4, 8, 8))
    cond = model.encode([item[1] for item in ITEMS])
    stride = 1000 // STEPS
    for index, t in enumerate(times):
        noise = model.predict("base", latents, torch.tensor(t), cond, 5.0)
        a = alphas[t]
        original = (latents - (1 - a).sqrt() * noise) / a.sqrt()
        if index == STEPS - 1 and last_is_original:
            return original
        before = t - stride
        if not stochastic:
            a_before = alphas[before] if before >= 0 else alphas[0]  # set_alpha_to_one = false
            latents = a_before.sqrt() * original + (1 - a_before).sqrt() * noise
            continue
        a_before = alphas[before] if before >= 0 else torch.tensor(1.0)
        step = a / a_before
        mean = a_before.sqrt() * (1 - step) / (1 - a) * original + step.sqrt() * (1 - a_before) / (1 - a) * latents
        drawn = torch.stack(
            [torch.randn(4, 8, 8, generator=generator) for generator in generators(SEED, IDS, SAMPLES, index + 1)]
        )
        latents = mean + ((1 - a_before) / (1 - a) * (1 - step)).sqrt() * drawn
    return latents


def times_of(model: Any) -> list[int]:
    return [int(t) for t in model.new_scheduler().timesteps]


def close(got: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    assert float((got - expected).abs().max()) <= 2e-5 * scale


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [{"timestep_spacing": "leading", "steps_offset": 1}, {}])
def test_ddpm_ends_with_the_predicted_original_as_the_official_code(folder: Path, spacing: dict[str, Any]) -> None:
    options = {"rescale_betas_zero_snr": False, **spacing}
    model = load_model(folder, tiny_suite("DDPMScheduler", STEPS, options=options))
    expected = plain_loop(model, True, True, times_of(model))
    close(ours(model), expected)
    asked = load_model(folder, tiny_suite("DDPMScheduler", STEPS, options=options | FINAL))
    close(ours(asked), expected)  # it does so already: the option changes nothing


@pytest.mark.slow
def test_ddim_ends_so_where_the_suite_asks_for_it(folder: Path) -> None:
    """diffusers' DDIM with set_alpha_to_one = false stops one noise level above the predicted original."""
    model = load_model(folder, tiny_suite("DDIMScheduler", STEPS, options=PUBLISHED))
    official = plain_loop(model, False, True, times_of(model))
    theirs = plain_loop(model, False, False, times_of(model))
    close(ours(model), theirs)
    close(ours(load_model(folder, tiny_suite("DDIMScheduler", STEPS, options=PUBLISHED | FINAL))), official)
    assert float((official - theirs).abs().max()) > 1e-3 * float(official.abs().max())


@pytest.mark.parametrize(
    ("scheduler", "options", "words"),
    [
        ("DDIMScheduler", {"final": "original"}, "must be 'predicted_original', got 'original'"),
        ("DPMSolverMultistepScheduler", FINAL, "does not tell the predicted original of a step"),
        ("DDIMScheduler", {"finl": "x"}, "Did you mean 'final'"),
    ],
)
def test_what_cannot_be_asked(folder: Path, scheduler: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_model(folder, tiny_suite(scheduler, STEPS, options=options))
