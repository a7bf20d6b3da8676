"""The loop against diffusers' own pipeline, against a loop written out here, and against itself."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline
from torch import Tensor

from bench.errors import UsageError
from bench.models.loading import quiet
from bench.models.sd import StableDiffusion
from bench.sampling.loop import Batch, as_batch, evaluations_per_step, run_tree, steps_of
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import Action, actions_of, build_tree
from tests.tolerance import assert_close
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite, tiny_unet

ITEMS = [("p1", "a red circle", 0), ("p1", "a red circle", 1), ("p2", "a large star", 0), ("p3", "a square", 4)]
STEPS = 6
SCHEDULERS = {
    "DDPMScheduler": {},
    "DDIMScheduler": {"clip_sample": False},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++", "rescale_betas_zero_snr": False},
    "UniPCMultistepScheduler": {"rescale_betas_zero_snr": False},
    "EulerAncestralDiscreteScheduler": {"rescale_betas_zero_snr": False},
    "HeunDiscreteScheduler": {},
    "PNDMScheduler": {"skip_prk_steps": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny_pipeline(tmp_path_factory.mktemp("tiny") / "pipeline")
    tiny_unet(5).save_pretrained(path.parent / "tuned")
    return path


def model_of(folder: Path, scheduler: str = "DDPMScheduler") -> StableDiffusion:
    model = StableDiffusion(folder, tiny_suite(scheduler, STEPS, options=SCHEDULERS[scheduler]))
    model.add_network("tuned", folder.parent / "tuned")
    return model


METHODS: dict[str, tuple[Action, ...]] = {
    "base": actions_of([0.0] * STEPS, ("base", 5.0)),
    "refl": actions_of([1.0] * STEPS, ("base", 5.0), ("tuned", 1.0)),
    "combined": actions_of([0.0] * 4 + [1.0] * 2, ("base", 5.0), ("tuned", 1.0)),
    "aig": actions_of([i / STEPS for i in range(STEPS)], ("base", 2.0), ("tuned", 1.0)),
}


def finals(model: StableDiffusion, methods: dict[str, tuple[Action, ...]], batch: Batch) -> dict[str, Tensor]:
    return {name: z for names, z in run_tree(model, build_tree(methods), batch) for name in names}


@torch.no_grad()
def diffusers_images(folder: Path, network: str, guidance: float, stock: bool, scheduler: Any = None) -> Tensor:
    """The pipeline's own images; unless `stock`, as our parts are: frozen, in our memory layout, one-by-one."""
    items = ITEMS
    with quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipeline.scheduler = scheduler
    if network == "tuned":
        pipeline.unet = type(pipeline.unet).from_pretrained(str(folder.parent / "tuned"))
    prompts: dict[str, Any] = {"prompt": [item[1] for item in items]}
    if not stock:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False)
        alone = [pipeline.encode_prompt(item[1], "cpu", 1, True) for item in items]
        names = ("prompt_embeds", "negative_prompt_embeds")
        prompts = {name: torch.cat([pair[index] for pair in alone]) for index, name in enumerate(names)}
    ids, samples = [item[0] for item in items], [item[2] for item in items]
    step = pipeline.scheduler.step
    counter = iter(range(1, STEPS + 1))

    def with_our_noise(output: Tensor, t: Tensor, sample: Tensor, **options: Any) -> Any:
        return step(output, t, sample, **{**options, "generator": generators(7, ids, samples, next(counter))})

    if "generator" in inspect.signature(step).parameters:
        pipeline.scheduler.step = with_our_noise
    pictures = pipeline(
        **prompts,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        latents=initial_noise(7, ids, samples, (4, 8, 8)),
        output_type="np",
        height=32,
        width=32,
    ).images
    return torch.from_numpy((pictures * 255).round().astype("uint8")).permute(0, 3, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "network", "guidance"), [("base", "base", 5.0), ("refl", "tuned", 1.0)])
def test_equals_diffusers(folder: Path, method: str, network: str, guidance: float) -> None:
    """Equal, if the pipeline's parts are frozen, encode prompt by prompt and have our memory layout.

    The stock pipeline differs by at most one level in few pixels: its weights want gradients and are contiguous, which
    makes torch choose other kernels, and it encodes all prompts together. `models/test_families.py` has the rest.
    """
    model = model_of(folder)
    ours = finals(model, {method: METHODS[method]}, as_batch(model, 7, ITEMS))[method]
    images = model.decode(ours)
    assert torch.equal(images, diffusers_images(folder, network, guidance, stock=False))
    difference = (images.int() - diffusers_images(folder, network, guidance, stock=True).int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"skip_prk_steps": True}, {"skip_prk_steps": False}], ids=["plms", "prk"])
def test_pndm_equals_diffusers(folder: Path, options: dict[str, Any]) -> None:
    """Stable Diffusion's own scheduler, which evaluates the network more than once in its first steps."""
    model = StableDiffusion(folder, tiny_suite("PNDMScheduler", STEPS, options=options))
    own = PNDMScheduler.from_config(model.scheduler_config, **options)
    ours = finals(model, {"base": METHODS["base"]}, as_batch(model, 7, ITEMS))["base"]
    assert torch.equal(model.decode(ours), diffusers_images(folder, "base", 5.0, stock=False, scheduler=own))
    scheduler = model.new_scheduler()
    expected = (2, 1, 1, 1, 1, 1) if options["skip_prk_steps"] else (4, 4, 4, 1, 1, 1)
    assert evaluations_per_step(scheduler) == expected
    assert steps_of(scheduler) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DDPMWuerstchenScheduler", r"goes through 7 timesteps for sampler.steps = 6"),
        ("KarrasVeScheduler", r"goes through 6 timesteps for sampler.steps = 6"),
        ("MiniMaxH3Scheduler", r"goes through 5 timesteps for sampler.steps = 6"),
        ("CogVideoXDPMScheduler", "has a stepping scheme that the sampling loop does not support"),
        ("ScoreSdeVeScheduler", "has a stepping scheme that the sampling loop does not support"),
        ("AmusedScheduler", r"cannot be set up with sampler.steps = 6 .*mask_token_id"),
    ],
)
def test_schedulers_that_the_loop_cannot_go_through(folder: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"{name} {words}"):
        StableDiffusion(folder, tiny_suite(name, STEPS)).new_scheduler()


def test_more_steps_than_the_scheduler_has(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"DDPMScheduler cannot be set up with sampler.steps = 1001"):
        StableDiffusion(folder, tiny_suite("DDPMScheduler", 1001)).new_scheduler()


@torch.inference_mode()
def plain_loop(model: StableDiffusion, weights: list[float], guidances: tuple[float, float], batch: Batch) -> Tensor:
    scheduler = model.new_scheduler()
    z = initial_noise(7, batch.prompt_ids, batch.samples, (4, 8, 8)) * scheduler.init_noise_sigma
    text, empty = batch.cond.states["text"], batch.cond.empty["text"].expand(len(batch.samples), -1, -1)
    tuned = model.networks["tuned"].module
    # Heun looks at each step twice, PNDM at the first.
    heun, pndm = (name in type(scheduler).__name__ for name in ("Heun", "PNDM"))

    def one(network: Any, x: Tensor, t: Tensor, guidance: float) -> Tensor:
        if guidance == 1.0:
            return network(x, t, encoder_hidden_states=text).sample
        pair = network(torch.cat([x, x]), t, encoder_hidden_states=torch.cat([empty, text])).sample
        return pair[: len(x)] + guidance * (pair[len(x) :] - pair[: len(x)])

    for index, t in enumerate(scheduler.timesteps):
        w = weights[index // 2 if heun else max(index - 1, 0) if pndm else index]
        x = scheduler.scale_model_input(z, t)
        if w == 0.0:
            prediction = one(model.unet, x, t, guidances[0])
        elif w == 1.0:
            prediction = one(tuned, x, t, guidances[1])
        else:
            prediction = (1 - w) * one(model.unet, x, t, guidances[0]) + w * one(tuned, x, t, guidances[1])
        noise = generators(7, batch.prompt_ids, batch.samples, index + 1)
        extra = {"generator": noise} if "generator" in scheduler.step.__code__.co_varnames else {}
        z = scheduler.step(prediction, t, z, **extra).prev_sample
    return z


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_shared_branches_equal_a_plain_loop_each(folder: Path, scheduler: str) -> None:
    model = model_of(folder, scheduler)
    batch = as_batch(model, 7, ITEMS)
    shared = finals(model, METHODS, batch)
    weights = {"base": [0.0] * 6, "refl": [1.0] * 6, "combined": [0, 0, 0, 0, 1, 1], "aig": [i / 6 for i in range(6)]}
    for name, values in weights.items():
        expected = plain_loop(model, [float(w) for w in values], (2.0 if name == "aig" else 5.0, 1.0), batch)
        assert torch.equal(shared[name], expected), name


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_sharing_changes_nothing(folder: Path, scheduler: str) -> None:
    model = model_of(folder, scheduler)
    batch = as_batch(model, 7, ITEMS)
    shared = finals(model, dict(reversed(METHODS.items())), batch)
    for name, actions in METHODS.items():
        assert torch.equal(shared[name], finals(model, {name: actions}, batch)[name])


@pytest.mark.slow
def test_batch_size_and_order_change_at_most_one_level(folder: Path) -> None:
    """Convolutions of another batch size may sum in another order: 1 of 255 levels, in few pixels."""
    model = model_of(folder)
    whole = finals(model, METHODS, as_batch(model, 7, ITEMS))
    for index, item in enumerate(ITEMS):
        alone = finals(model, METHODS, as_batch(model, 7, [item]))
        for name in METHODS:
            assert_close(alone[name][0], whole[name][index])
            a, b = model.decode(alone[name]).int()[0], model.decode(whole[name]).int()[index]
            assert int((a - b).abs().max()) <= 1
            assert float((a != b).float().mean()) < 0.01


def test_equal_methods_share_a_leaf(folder: Path) -> None:
    model = model_of(folder)
    leaves = list(run_tree(model, build_tree({"a": METHODS["base"], "b": METHODS["base"]}), as_batch(model, 7, ITEMS)))
    assert [names for names, _ in leaves] == [("a", "b")]


def test_half_precision_uses_the_same_noise(folder: Path) -> None:
    model = StableDiffusion(folder, tiny_suite(steps=2, dtype="bfloat16"))
    actions = actions_of([0.0, 0.0], ("base", 1.0))
    final = finals(model, {"base": actions}, as_batch(model, 7, ITEMS))["base"]
    assert final.dtype == torch.bfloat16
    assert model.decode(final).dtype == torch.uint8
