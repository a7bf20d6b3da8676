"""Every family against diffusers' own pipeline: the same latents and step noise give the same picture."""

from __future__ import annotations

import inspect
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.errors import UsageError
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.sampling.loop import as_batch, run_tree, unguided_per_step
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import actions_of, build_tree, needed
from tests.tolerance import assert_close
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

ITEMS = [("p1", "a red circle", 0), ("p1", "a red circle", 1), ("p2", "a large star", 0)]
IDS, SAMPLES = [item[0] for item in ITEMS], [item[2] for item in ITEMS]
STEPS = 4
FLOW = "FlowMatchEulerDiscreteScheduler"
# family -> schedulers that its checkpoints are used with
CASES = [
    ("sd", "DDPMScheduler", {}),
    ("sdxl", "EulerDiscreteScheduler", {}),
    ("sdxl", "DDPMScheduler", {"clip_sample": False}),
    ("pixart", "DPMSolverMultistepScheduler", {}),
    ("pixart-alpha", "DDPMScheduler", {"clip_sample": False}),
    ("sd3", FLOW, {}),
    ("sd3", FLOW, {"stochastic_sampling": True}),
    ("flux", FLOW, {}),
    ("flux2", FLOW, {}),
    ("z_image", FLOW, {}),
    ("qwen_image", FLOW, {}),
    ("sana", "DPMSolverMultistepScheduler", {}),
    ("sana", FLOW, {}),
]
NAMES = {
    "sdxl": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
    "sd": ("prompt_embeds", "negative_prompt_embeds"),
    "pixart": (
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
        "negative_prompt_attention_mask",
    ),
    "flux": ("prompt_embeds", "pooled_prompt_embeds"),
    "flux2": ("prompt_embeds",),
    "sana": ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask"),
}
PACKED = ("flux", "flux2", "qwen_image")
"""Families whose latents are tokens: 2 x 2 patches."""
NAMES |= {"sd3": NAMES["sdxl"], "pixart-alpha": NAMES["pixart"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: family_pipeline(family, root / family) for family in dict.fromkeys(case[0] for case in CASES)}


def suite_for(family: str, scheduler: str, options: dict[str, Any], **changes: Any) -> Any:
    suite = tiny_suite(scheduler, STEPS, options=options, **changes)
    suite.model.family = family.split("-")[0]
    return suite


@torch.no_grad()  # with gradients attention takes another path, which moves the last bits
def encoded(pipeline: Any, family: str) -> dict[str, Any]:
    """Each prompt encoded alone by the pipeline, as we do; encoding together moves the last bit."""
    rows = []
    for _, text, _ in ITEMS:
        if family == "qwen_image":
            rows.append(pipeline.encode_prompt(text, max_sequence_length=512)[:1])
            continue
        if family == "z_image":
            rows.append(pipeline.encode_prompt(text))
            continue
        if family == "sd":
            rows.append(pipeline.encode_prompt(text, "cpu", 1, True))
        elif family == "sd3":
            rows.append(pipeline.encode_prompt(text, text, text))
        elif family.startswith("pixart"):
            length = 120 if family == "pixart-alpha" else 300
            rows.append(pipeline.encode_prompt(text, max_sequence_length=length))
        elif family == "sana":
            rows.append(pipeline.encode_prompt(text, complex_human_instruction=instruction_of(pipeline)))
        else:
            rows.append(pipeline.encode_prompt(text))
    if family == "z_image":
        return {
            name: [one for row in rows for one in row[index]]
            for index, name in enumerate(("prompt_embeds", "negative_prompt_embeds"))
        }
    if family == "qwen_image":
        mask = pad_sequence([torch.ones(row[0].shape[1], dtype=torch.long) for row in rows], batch_first=True)
        negative, _ = pipeline.encode_prompt(" ", max_sequence_length=512)
        return {
            "prompt_embeds": pad_sequence([row[0][0] for row in rows], batch_first=True),
            "prompt_embeds_mask": mask,
            "negative_prompt_embeds": negative.repeat(len(rows), 1, 1),
        }
    return {name: torch.cat([row[index] for row in rows]) for index, name in enumerate(NAMES[family])}


def instruction_of(pipeline: Any) -> list[str]:
    return list(inspect.signature(type(pipeline).__call__).parameters["complex_human_instruction"].default)


def as_the_pipeline_takes(family: str, noise: Tensor, guidance: float) -> dict[str, Any]:
    """Noise and guidance in the shapes and conventions of the family's own `__call__`."""
    if family == "flux2":  # which packs a grid of patches itself
        half = int(noise.shape[1] ** 0.5)
        return {"latents": noise.transpose(1, 2).reshape(len(noise), -1, half, half), "guidance_scale": guidance}
    if family == "z_image":
        return {"latents": noise, "guidance_scale": guidance - 1}
    if family == "qwen_image":
        return {"latents": noise, "true_cfg_scale": guidance}
    return {"latents": noise, "guidance_scale": guidance}


def diffusers_result(
    folder: Path,
    case: tuple[str, str, dict[str, Any]],
    guidance: float,
    network: Any = None,
    dtype: torch.dtype = torch.float32,
    **asked: Any,
) -> tuple[Tensor, Tensor]:
    """Final latents and uint8 pictures of diffusers' own `__call__`."""
    family, scheduler, options = case
    with quiet():
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder), torch_dtype=dtype)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config, **options)
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    if network is not None:
        setattr(pipeline, part, network)
    if part == "unet":
        pipeline.unet.to(memory_format=torch.channels_last)
    if family != "qwen_image":  # whose autoencoder has a third axis
        pipeline.vae.to(memory_format=torch.channels_last)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)  # weights that want a gradient take other kernels, even where none is made
    step, counter = pipeline.scheduler.step, iter(range(1, STEPS + 1))

    def with_our_noise(output: Tensor, t: Tensor, sample: Tensor, **given: Any) -> Any:
        return step(output, t, sample, **{**given, "generator": generators(7, IDS, SAMPLES, next(counter))})

    pipeline.scheduler.step = with_our_noise
    shape = (64 // 4, 16) if family in PACKED else (4, 8, 8)
    more: dict[str, Any] = {"use_resolution_binning": False, "negative_prompt": None} if "pixart" in family else {}
    if family == "sana":
        more = {"use_resolution_binning": False, "negative_prompt": None}
    finals: list[Tensor] = []
    decode = pipeline.vae.decode

    def watched(latents: Tensor, **given: Any) -> Any:
        finals.append(latents)
        return decode(latents, **given)

    pipeline.vae.decode = watched
    more |= {"height": 32, "width": 32, "output_type": "np", "num_inference_steps": STEPS}
    with quiet():
        noise = initial_noise(7, IDS, SAMPLES, shape)
        more |= as_the_pipeline_takes(family, noise, guidance) | asked
        pictures = pipeline(**encoded(pipeline, family), **more).images
    return finals[0], torch.from_numpy((pictures * 255).round().astype("uint8")).permute(0, 3, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{len(case[2])}")
@pytest.mark.parametrize("network", ["base", "tuned"])
def test_equals_diffusers(
    folders: dict[str, Path], tmp_path: Path, case: tuple[str, str, dict[str, Any]], network: str
) -> None:
    """In the same memory layout, with prompts encoded one by one, the final latents are equal bit for bit."""
    family = case[0]
    model = load_model(folders[family], suite_for(*case))
    tuned = None
    if network == "tuned":
        tuned = tiny_network(family, 5)
        tuned.save_pretrained(tmp_path / "tuned")
        model.add_network("tuned", tmp_path / "tuned")
    guidance = 1.0 if family == "flux" or network == "tuned" else 5.0
    expected, pictures = diffusers_result(folders[family], case, 3.5 if family == "flux" else guidance, tuned)
    weights = [float(network == "tuned")] * STEPS
    tree = build_tree({"run": actions_of(weights, ("base", guidance), ("tuned", guidance))})
    ((_, latents),) = run_tree(model, tree, as_batch(model, 7, ITEMS))
    unscaled = model._unscaled(latents)  # type: ignore[attr-defined]
    assert float(latents.float().std()) > 0.1
    assert torch.equal(unscaled, expected), float((unscaled - expected).abs().max())
    assert torch.equal(model.decode(latents), pictures)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd", "sdxl", "pixart", "sd3", "flux"])
def test_pixels_and_latents(folders: dict[str, Path], family: str) -> None:
    """Scaling for the network and back is the identity, and decoding with gradient is decoding."""
    case = next(case for case in CASES if case[0] == family)
    model: Any = load_model(folders[family], suite_for(*case))
    raw = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert_close(model._unscaled(model._scaled(raw)), raw, 1e-6)
    latents = model.encode_pixels(torch.zeros(2, 3, 32, 32), torch.Generator().manual_seed(1))
    assert tuple(latents.shape[1:]) == model.latents_shape
    latents = latents.clone().requires_grad_(True)
    pixels = model.decode_pixels(latents)
    pixels.sum().backward()
    assert float(latents.grad.abs().max()) > 0.0
    assert int(((pixels * 255).round().to(torch.uint8).int() - model.decode(latents.detach()).int()).abs().max()) <= 1


@pytest.mark.slow
def test_a_decoder_of_ones_own_is_used(folders: dict[str, Path]) -> None:
    from bench.models.sd import StableDiffusion

    class Dark(StableDiffusion):
        def decode(self, latents: Tensor) -> Tensor:
            return torch.zeros_like(super().decode(latents))

    model = Dark(folders["sd"], suite_for("sd", "DDPMScheduler", {}))
    assert int(model.decoding(torch.randn(1, 4, 8, 8))().max()) == 0


def test_sdxl_latents_with_a_normalisation_of_their_own(folders: dict[str, Path]) -> None:
    model: Any = load_model(folders["sdxl"], suite_for("sdxl", "EulerDiscreteScheduler", {}))
    model.vae.register_to_config(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0])
    z = torch.ones(1, 4, 1, 1)
    expected = torch.tensor([1.0, 2.0, 3.0, 4.0]) / 0.9 + torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert_close(model._unscaled(z).flatten(), expected, 1e-6)
    assert_close(model._scaled(model._unscaled(z)), z, 1e-6)


def test_decoding_runs_beside_the_next_batch_only_where_there_are_cores_for_both(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = load_model(folders["sd"], suite_for("sd", "DDPMScheduler", {}))
    latents, decoded = torch.randn(1, 4, 8, 8), []
    decode = type(model).decode
    monkeypatch.setattr(type(model), "decode", lambda self, z: decoded.append(1) or decode(self, z))
    for cores, at_once in ((1, 1), (2, 0)):
        monkeypatch.setattr("bench.models.decoding.available_cores", lambda cores=cores: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        decoded.clear()
        waiting = model.decoding(latents)
        assert len(decoded) == at_once
        assert torch.equal(waiting(), decode(model, latents))
        assert len(decoded) == 1


def test_a_decoder_without_memory_takes_fewer_at_a_time(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = load_model(folders["sd"], suite_for("sd", "DDPMScheduler", {}))
    latents, tried = torch.randn(5, 4, 8, 8), []
    expected, decode, limit = model.decode(latents), model.vae.decode, 2

    def limited(z: Tensor, **given: Any) -> Any:
        tried.append(len(z))
        if len(z) > limit:
            raise torch.OutOfMemoryError("no")
        return decode(z, **given)

    monkeypatch.setattr(model.vae, "decode", limited)
    assert int((model.decode(latents).int() - expected.int()).abs().max()) <= 1
    assert tried == [5, 2, 2, 1]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        model.decode(latents)


RULES = [
    ("flux2", FLOW, {}),
    ("z_image", FLOW, {}),
    ("qwen_image", FLOW, {}),
    ("sana", "DPMSolverMultistepScheduler", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", RULES, ids=lambda case: case[0])
def test_families_of_2026_equal_diffusers_in_half_precision(
    folders: dict[str, Path], case: tuple[str, str, dict[str, Any]]
) -> None:
    """Z-Image and Sana keep latents in float32 there, whatever the network computes in; the others do not."""
    model: Any = load_model(folders[case[0]], suite_for(*case, dtype="bfloat16"))
    expected, pictures = diffusers_result(folders[case[0]], case, 5.0, dtype=torch.bfloat16)
    tree = build_tree({"run": actions_of([0.0] * STEPS, ("base", 5.0))})
    ((_, latents),) = run_tree(model, tree, as_batch(model, 7, ITEMS))
    assert latents.dtype == (torch.float32 if case[0] in ("z_image", "sana") else torch.bfloat16)
    assert torch.equal(model._unscaled(latents).to(model.vae.dtype), expected)
    assert torch.equal(model.decode(latents), pictures)


def counting(model: Any) -> list[int]:
    """How many rows each call of the network has from now on."""
    found: list[int] = []
    model.networks["base"].module.register_forward_pre_hook(lambda module, given: found.append(len(given[0])))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "moves"),
    [
        ({"cfg_normalization": 1.0}, True),
        ({"cfg_normalization": 1000.0}, False),
        ({"cfg_truncation": 0.3}, True),
        ({"cfg_truncation": 1.0}, False),
        ({"cfg_normalization": 0.9, "cfg_truncation": 0.5}, True),
    ],
    ids=str,
)
def test_guidance_rules_of_z_image(folders: dict[str, Path], rules: dict[str, float], moves: bool) -> None:
    case = ("z_image", FLOW, {})
    finals = {}
    for name, asked in {"plain": {}, "rules": rules}.items():
        suite = suite_for(*case)
        for key, value in asked.items():
            setattr(suite.model, key, value)
        model: Any = load_model(folders["z_image"], suite)
        tree = build_tree({"run": actions_of([0.0] * STEPS, ("base", 5.0))})
        executed: Counter[str] = Counter()
        evaluated = counting(model)
        ((_, finals[name]),) = run_tree(model, tree, as_batch(model, 7, ITEMS), executed)
        unguided = unguided_per_step(model, model.new_scheduler())
        assert executed["run"] == sum(evaluated) == needed({"run": tree.actions}, None, unguided)["run"] * len(ITEMS)
    assert (executed["run"] < 2 * STEPS * len(ITEMS)) == (rules == {"cfg_truncation": 0.3})  # no time here is above 0.5
    expected, _ = diffusers_result(folders["z_image"], case, 5.0, **rules)
    assert torch.equal(model._unscaled(finals["rules"]), expected)
    assert torch.equal(finals["rules"], finals["plain"]) != moves


@pytest.mark.slow
@pytest.mark.parametrize("case", RULES, ids=lambda case: case[0])
def test_the_prompt_acts(folders: dict[str, Path], case: tuple[str, str, dict[str, Any]]) -> None:
    model: Any = load_model(folders[case[0]], suite_for(*case))
    noise = torch.randn(2, *model.latents_shape, generator=torch.Generator().manual_seed(1))
    cond, t = model.encode(["a red circle", "a large star"]), torch.tensor(500.0)
    with torch.inference_mode():
        with_text = model.predict("base", noise, t, cond, 1.0)
        other = model.predict("base", noise, t, cond.take([1, 0]), 1.0)
        guided = model.predict("base", noise, t, cond, 5.0)
    scale = float(with_text.abs().max())
    assert float((with_text - other).abs().max()) / scale > 1e-4
    assert float((with_text - guided).abs().max()) / scale > 1e-4


@pytest.mark.slow
def test_a_distilled_pipeline_has_no_guidance(folders: dict[str, Path], tmp_path: Path) -> None:
    """diffusers ignores it; a number that says guidance where there was none is worse than a refusal."""
    folder = Path(shutil.copytree(folders["flux2"], tmp_path / "distilled"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "is_distilled": True}))
    case = ("flux2", FLOW, {})
    model: Any = load_model(folder, suite_for(*case))
    expected, _ = diffusers_result(folder, case, 4.0)
    tree = build_tree({"run": actions_of([0.0] * STEPS, ("base", 1.0))})
    ((_, latents),) = run_tree(model, tree, as_batch(model, 7, ITEMS))
    assert torch.equal(model._unscaled(latents), expected)
    guided = build_tree({"run": actions_of([0.0] * STEPS, ("base", 4.0))})
    with pytest.raises(UsageError, match="is step-distilled .* set the suite's guidance .* to 1"):
        list(run_tree(model, guided, as_batch(model, 7, ITEMS)))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "limit"), [("flux2", 512), ("z_image", 512), ("qwen_image", 512), ("sana", 300)])
def test_prompts_are_cut_where_diffusers_cuts_them(
    folders: dict[str, Path], said: list[str], family: str, limit: int
) -> None:
    """A prompt of as many tokens as are allowed keeps its last one, and one more is told of."""
    model: Any = load_model(folders[family], suite_for(*next(case for case in CASES if case[0] == family)))
    most = model._token_limit()
    beyond = len(model.tokenizers[-1]("").input_ids)  # of Gemma's: its first token
    whole, other, cut = "a" * (most - beyond), "a" * (most - beyond - 1) + "b", "a" * (most - beyond) + "b"
    states = model.encode([whole, other, cut]).states["text"]
    assert states.shape[1] == limit
    assert not torch.equal(states[0], states[1])
    assert [line for line in said if f"1 prompt is longer than the text encoder's limit of {most} tokens" in line]
