"""Prompt conditions against diffusers' own pipelines, called as users call them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors.torch import save_file
from transformers import CLIPTextModel

from bench.errors import MissingError, UsageError
from bench.methods.conditions import PromptConditions, check_conditions
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import generators, initial_noise
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.test_families import FLOW, STEPS, suite_for

SCHEDULERS = {"sd": "DDPMScheduler", "sdxl": "EulerDiscreteScheduler", "pixart": "DPMSolverMultistepScheduler"}
SCHEDULERS |= {"sd3": FLOW, "flux": FLOW}
PROMPT, NEGATIVE = "a red circle", "a large square on the left"
WIDTHS = {"sd": (16,), "sdxl": (8, 8)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("conditions")
    found = {family: family_pipeline(family, root / family) for family in SCHEDULERS}
    encoder = CLIPTextModel.from_pretrained(found["sd"] / "text_encoder")
    torch.manual_seed(2)
    config = encoder.config
    config.num_hidden_layers = 3
    CLIPTextModel(config).save_pretrained(found["sd"] / "text_encoder")
    return found


def embedding(folder: Path, layout: str, family: str, vectors: int) -> Path:
    """A textual inversion in a published layout."""
    torch.manual_seed(11)
    values = [torch.randn(vectors, width) for width in WIDTHS[family]]
    names = {"a1111": ["emb_params"], "diffusers": ["<cat>"], "pivotal": ["clip_l", "clip_g"]}[layout]
    save_file(dict(zip(names, values, strict=True)), folder / f"{layout}.safetensors")
    return folder / f"{layout}.safetensors"


def by_diffusers(folder: Path, family: str, prompt: str, more: dict[str, Any], load: Any = None) -> Any:
    """Latents of diffusers' own call for one picture, prompts as text, guidance 5."""
    with quiet():
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder))
        pipeline.set_progress_bar_config(disable=True)
        kind = getattr(diffusers, SCHEDULERS[family])
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        if load is not None:
            load(pipeline)
    if family == "sd" and not hasattr(pipeline.text_encoder, "text_model"):
        # With transformers 5 this call of diffusers 0.42 fails on clip_skip for want of this name.
        object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    if hasattr(pipeline, "unet"):
        pipeline.unet.to(memory_format=torch.channels_last)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
    step, counter = pipeline.scheduler.step, iter(range(1, STEPS + 1))
    pipeline.scheduler.step = lambda output, t, sample, **given: step(
        output, t, sample, **{**given, "generator": generators(7, ["p1"], [0], next(counter))}
    )
    shape = (16, 16) if family == "flux" else (4, 8, 8)
    scale = {"true_cfg_scale": 5.0} if family == "flux" else {"guidance_scale": 5.0}
    extra = {"use_resolution_binning": False, "clean_caption": False} if family == "pixart" else {}
    with quiet():
        return pipeline(
            prompt,
            latents=initial_noise(7, ["p1"], [0], shape),
            num_inference_steps=STEPS,
            height=32,
            width=32,
            output_type="latent",
            **scale,
            **extra,
            **more,
        ).images


def ours(model: Any, network: str, guidance: float, prompt: str = PROMPT) -> torch.Tensor:
    tree = build_tree({"run": actions_of([0.0] * STEPS, (network, guidance))})
    ((_, latents),) = run_tree(model, tree, as_batch(model, 7, [("p1", prompt, 0)]))
    return latents


def model_of(folders: dict[str, Path], family: str, **changes: Any) -> Any:
    suite = suite_for(family, SCHEDULERS[family], {}, **changes)
    suite.model.true_cfg = True
    return load_model(folders[family], suite)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("sd", {"negative_prompt": NEGATIVE}),
        ("sd", {"guidance_rescale": 0.7}),
        ("sd", {"clip_skip": 1}),
        ("sd", {"negative_prompt": NEGATIVE, "guidance_rescale": 0.7, "clip_skip": 2}),
        ("sdxl", {"negative_prompt": NEGATIVE}),
        ("sdxl", {"negative_prompt": ""}),  # encoded, where none at all would be zeros
        ("sdxl", {"guidance_rescale": 0.3}),
        ("sdxl", {"negative_prompt": NEGATIVE, "guidance_rescale": 0.7, "clip_skip": 1}),
        ("pixart", {"negative_prompt": NEGATIVE}),
        ("sd3", {"negative_prompt": NEGATIVE}),
        ("sd3", {"clip_skip": 1}),
        ("sd3", {"negative_prompt": NEGATIVE, "clip_skip": 1}),
        ("flux", {"negative_prompt": NEGATIVE}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_equals_diffusers(folders: dict[str, Path], family: str, given: dict[str, Any]) -> None:
    conditions = PromptConditions(**given)
    model = model_of(folders, family)
    plain = ours(model, "base", 5.0)
    model.add_conditions("conditioned", "base", conditions, {})
    expected = by_diffusers(folders[family], family, PROMPT, given)
    got = ours(model, "conditioned", 5.0)
    assert torch.equal(got, expected), float((got - expected).abs().max())
    assert not torch.equal(got, plain)
    assert torch.equal(ours(model, "base", 5.0), plain)  # the base is not touched
    assert model.networks["conditioned"].module is model.network


@pytest.mark.slow
@pytest.mark.parametrize("vectors", [1, 3])
@pytest.mark.parametrize(("family", "layout"), [("sd", "a1111"), ("sd", "diffusers"), ("sdxl", "pivotal")])
def test_textual_inversion_equals_diffusers(
    folders: dict[str, Path], tmp_path: Path, family: str, layout: str, vectors: int
) -> None:
    path, token = embedding(tmp_path, layout, family, vectors), "catxyz"
    prompt, negative = f"a red {token}", f"{token} on the left"

    def load(pipeline: Any) -> None:
        from safetensors.torch import load_file

        tensors = list(load_file(path).values()) if layout != "pivotal" else None
        pairs = [(pipeline.text_encoder, pipeline.tokenizer)]
        if tensors is None:
            state = load_file(path)
            tensors = [state["clip_l"], state["clip_g"]]
            pairs.append((pipeline.text_encoder_2, pipeline.tokenizer_2))
        for value, (encoder, tokenizer) in zip(tensors, pairs, strict=True):
            pipeline.load_textual_inversion(value, token=token, text_encoder=encoder, tokenizer=tokenizer)

    model = model_of(folders, family)
    before = ours(model, "base", 5.0, prompt)
    conditions = PromptConditions(negative_prompt=negative, embeddings=((token, str(path)),))
    model.add_conditions("conditioned", "base", conditions, {token: path})
    expected = by_diffusers(folders[family], family, prompt, {"negative_prompt": negative}, load)
    got = ours(model, "conditioned", 5.0, prompt)
    assert torch.equal(got, expected), float((got - expected).abs().max())
    assert torch.equal(ours(model, "base", 5.0, prompt), before)  # the base does not know the word
    again = PromptConditions(embeddings=conditions.embeddings)
    model.add_conditions("again", "base", again, {token: path})
    assert model.networks["again"].text is model.networks["conditioned"].text  # encoded once


@pytest.mark.slow
def test_a_textual_inversion_of_another_model(folders: dict[str, Path], tmp_path: Path) -> None:
    model = model_of(folders, "sd")
    pivotal = embedding(tmp_path, "pivotal", "sdxl", 1)
    save_file({"emb_params": torch.zeros(1, 5)}, tmp_path / "small.safetensors")
    cases = {pivotal: "is not a textual inversion of this model", tmp_path / "small.safetensors": "takes 16"}
    for path, words in cases.items():
        with pytest.raises(MissingError, match=words):
            model.add_conditions("x", "base", PromptConditions(), {"word": path})
    with pytest.raises(UsageError, match="clip_skip = 3 leaves no layer"):
        model.add_conditions("x", "base", PromptConditions(clip_skip=3), {})
    assert set(model.networks) == {"base"}


GIVEN: dict[str, Any] = {
    "negative_prompt": NEGATIVE,
    "guidance_rescale": 0.5,
    "clip_skip": 1,
    "embeddings": (("cat", "x.safetensors"),),
}
OF_DIFFUSERS = {  # besides, FluxPipeline reads textual inversions, which no family of transformers does here
    "sd": {"negative_prompt", "guidance_rescale", "clip_skip", "embeddings"},
    "sdxl": {"negative_prompt", "guidance_rescale", "clip_skip", "embeddings"},
    "pixart": {"negative_prompt"},
    "sd3": {"negative_prompt", "clip_skip"},
    "flux": {"negative_prompt"},
    "mine": set(),  # of a plug-in
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("family", OF_DIFFUSERS)
def test_each_setting_is_read_or_refused(family: str, name: str) -> None:
    conditions = PromptConditions(**{name: GIVEN[name]})
    if name in OF_DIFFUSERS[family]:
        check_conditions(family, conditions, [7.5], "base")
        return
    with pytest.raises(UsageError, match=rf"'base': {name} is not supported for models of family '{family}' \(it has"):
        check_conditions(family, conditions, [7.5], "base")


@pytest.mark.parametrize(
    ("family", "pipeline"),
    [
        ("sd", diffusers.StableDiffusionPipeline),
        ("sdxl", diffusers.StableDiffusionXLPipeline),
        ("pixart", diffusers.PixArtSigmaPipeline),
        ("sd3", diffusers.StableDiffusion3Pipeline),
        ("flux", diffusers.FluxPipeline),
    ],
)
def test_what_is_read_is_what_diffusers_has(family: str, pipeline: Any) -> None:
    has = set(inspect.signature(pipeline.__call__).parameters) & GIVEN.keys()
    if issubclass(pipeline, TextualInversionLoaderMixin) and family != "flux":
        has.add("embeddings")
    assert has == OF_DIFFUSERS[family]


def test_a_token_must_be_a_word() -> None:
    with pytest.raises(UsageError, match="must be a word"):
        check_conditions("sd", PromptConditions(embeddings=((" ", "b"),)), [7.5], "base")


@pytest.mark.slow
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_sd3_encodes_as_diffusers(folders: dict[str, Path], clip_skip: int | None) -> None:
    """The states and the pooled states of the prompt, and of the negative one, which has no clip_skip."""
    with quiet():
        pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(str(folders["sd3"]))
    words = dict.fromkeys(("prompt", "prompt_2", "prompt_3"), PROMPT)
    words |= {f"negative_{name}": NEGATIVE for name in words}
    with torch.no_grad():
        expected = pipeline.encode_prompt(**words, clip_skip=clip_skip, do_classifier_free_guidance=True)
    model = model_of(folders, "sd3")
    model.add_conditions("x", "base", PromptConditions(negative_prompt=NEGATIVE, clip_skip=clip_skip), {})
    side = model.networks["x"].text or model.text
    with torch.no_grad():
        got, negative = model._encode_text(side, PROMPT), model._encode_negative(side, NEGATIVE)
    assert torch.equal(got["text"], expected[0])
    assert torch.equal(negative["text"], expected[1])
    assert torch.equal(got["pooled"], expected[2])
    assert torch.equal(negative["pooled"], expected[3])
    plain = model._encode_text(model.text, PROMPT)
    assert torch.equal(got["text"], plain["text"]) == (clip_skip is None)


def test_what_has_no_effect_is_said(said: list[str]) -> None:
    check_conditions("sd", PromptConditions(negative_prompt="bad"), [1.0], "refl")
    assert said == ["method 'refl' runs without guidance: negative_prompt has no effect on it"]
