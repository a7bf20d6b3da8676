"""UNets of latent consistency models: guidance is embedded, one evaluation a step, as in diffusers' pipelines."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import LCMScheduler, UNet2DConditionModel

from bench.generation.generate import actions_for
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.models.reading import loader_versions
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import actions_of, build_tree
from bench.suite.plan import make_plan
from bench.suite.resolve import resolve_method
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.test_families import IDS, ITEMS, NAMES, SAMPLES, encoded, suite_for

GUIDANCE, STEPS = 8.0, 4


def consistency_unet(base: Path, seed: int = 3) -> UNet2DConditionModel:
    plain = UNet2DConditionModel.from_pretrained(base / "unet")
    torch.manual_seed(seed)
    with quiet():
        unet = UNet2DConditionModel.from_config({**plain.config, "time_cond_proj_dim": 8})
    for value in unet.parameters():
        if float(value.detach().std()) == 0.0:
            value.data += 0.1 * torch.randn(value.shape)
    return unet.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("lcm")
    found = {}
    for family in ("sd", "sdxl"):
        plain = family_pipeline(family, root / family)
        lcm = Path(shutil.copytree(plain, root / f"{family}-lcm"))
        consistency_unet(plain).save_pretrained(lcm / "unet")
        found |= {family: plain, f"{family}-lcm": lcm}
    return found


def by_diffusers(folder: Path, family: str, guidance: float) -> tuple[torch.Tensor, list[Any]]:
    """Latents of diffusers' own pipeline, and what its network was called with."""
    with quiet():
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder))
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config, rescale_betas_zero_snr=False)
    pipeline.unet.to(memory_format=torch.channels_last)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
    calls: list[Any] = []
    pipeline.unet.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    step, counter = pipeline.scheduler.step, iter(range(1, STEPS + 1))
    pipeline.scheduler.step = lambda output, t, sample, **given: step(
        output, t, sample, **{**given, "generator": generators(7, IDS, SAMPLES, next(counter))}
    )
    states = encoded(pipeline, family)
    with quiet():
        latents = pipeline(
            **{name: states[name] for name in NAMES[family]},
            latents=initial_noise(7, IDS, SAMPLES, (4, 8, 8)),
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            height=32,
            width=32,
            output_type="latent",
        ).images
    return latents, calls


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("network", ["base", "tuned", "file"])
def test_equals_diffusers(folders: dict[str, Path], tmp_path: Path, family: str, network: str) -> None:
    options = {"rescale_betas_zero_snr": False}
    base = folders[f"{family}-lcm" if network == "base" else family]
    model: Any = load_model(base, suite_for(family, "LCMScheduler", options))
    if network != "base":  # tuned from a model whose guidance is classifier-free
        unet = folders[f"{family}-lcm"] / "unet"
        model.add_network(network, unet if network == "tuned" else unet / "diffusion_pytorch_model.safetensors")
    assert model.networks[network].guidance_is_embedded
    expected, calls = by_diffusers(folders[f"{family}-lcm"], family, GUIDANCE)
    actions = actions_of([0.0] * STEPS, (network, GUIDANCE, True))
    executed: Counter[str] = Counter()
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, ITEMS), executed)
    assert torch.equal(latents, expected)
    assert len(calls) == STEPS
    assert all(kwargs["timestep_cond"] is not None for _, kwargs in calls)
    assert executed["run"] == STEPS * len(ITEMS)  # one evaluation a step and sample
    other = actions_of([0.0] * STEPS, (network, 2.0, True))
    ((_, weaker),) = run_tree(model, build_tree({"run": other}), as_batch(model, 7, ITEMS))
    assert float((weaker - expected).abs().max()) > 1e-3


def test_the_identity_says_how_they_are_read(folders: dict[str, Path]) -> None:
    """Older versions ran such networks with classifier-free guidance: those runs are not today's."""
    identities = {}
    for name in ("sd", "sd-lcm"):
        facts = {"name": "s", "model": {"weights": str(folders[name])}, "prompts": "shapes", "metrics": {"lpips": {}}}
        suite = Suite.model_validate(facts)
        digests = {str(folders[name]): "d" * 64}
        loaders = loader_versions(suite, [str(folders[name])])
        (plan,) = make_plan(suite, [resolve_method("base", suite)], [Prompt("a", "a star")], digests, loaders)
        identities[name] = plan.identity
        embedded = ["base"] if name == "sd-lcm" else []
        (side,) = actions_for(plan, suite.sampler.steps, embedded)[0]
        assert side.evaluations == (1 if embedded else 2)
    assert identities["sd-lcm"].pop("loader_version") == 2
    assert identities["sd-lcm"] == identities["sd"]
