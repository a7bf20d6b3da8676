"""A tuned full pipeline is more than its UNet: its own text encoders and autoencoder are used for its side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from bench.errors import MissingError
from bench.models.load import load_model
from bench.models.own_parts import own_parts
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.test_families import ITEMS, STEPS, suite_for

CASES = {"sd": ("sd", "DDPMScheduler", {}), "sdxl": ("sdxl", "EulerDiscreteScheduler", {})}
ENCODERS = {"sd": ("text_encoder",), "sdxl": ("text_encoder", "text_encoder_2")}
CLASSES = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection, "vae": AutoencoderKL}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("own")
    return {family: family_pipeline(family, root / family) for family in CASES}


def moved(module: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    for value in module.parameters():
        value.data += 0.3 * torch.randn(value.shape)
    return module


def tuned_pipeline(base: Path, to: Path, family: str, parts: tuple[str, ...]) -> Path:
    """The base's folder with a network of its own, and with these parts moved."""
    shutil.copytree(base, to)
    tiny_network(family, 5).save_pretrained(to / "unet")
    for index, name in enumerate(parts):
        moved(CLASSES[name].from_pretrained(to / name), index).save_pretrained(to / name)  # type: ignore[attr-defined]
    return to


def images(model: Any, weights: list[float], network: str, guidance: float = 5.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Final latents, and pictures decoded as generation does it."""
    actions = actions_of(weights, ("base", guidance), (network, guidance))
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, ITEMS))
    return latents, model.decoding(latents, actions[-1][-1].network)()


@pytest.mark.slow
@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize("which", ["text", "vae", "both"])
def test_the_tuned_side_is_the_tuned_pipeline(
    folders: dict[str, Path], tmp_path: Path, family: str, which: str, said: list[str]
) -> None:
    parts = {"text": ENCODERS[family], "vae": ("vae",), "both": (*ENCODERS[family], "vae")}[which]
    path = tuned_pipeline(folders[family], tmp_path / "tuned", family, parts)
    model = load_model(folders[family], suite_for(*CASES[family]))
    alone: Any = load_model(path, suite_for(*CASES[family]))
    before = images(model, [0.0] * STEPS, "base")
    model.add_network("tuned", path)
    for got, expected in zip(images(model, [1.0] * STEPS, "tuned"), images(alone, [0.0] * STEPS, "base"), strict=True):
        assert torch.equal(got, expected)
    for got, expected in zip(images(model, [0.0] * STEPS, "base"), before, strict=True):
        assert torch.equal(got, expected)  # the base keeps its own parts
    assert any("contains its own" in line for line in said)
    assert {name for name in parts if name in own_parts(path, folders[family], model.parts, "float32")} == set(parts)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_each_side_of_a_step_uses_its_own(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tuned_pipeline(folders["sd"], tmp_path / "tuned", "sd", ("text_encoder", "vae"))
    model: Any = load_model(folders["sd"], suite_for(*CASES["sd"]))
    alone: Any = load_model(path, suite_for(*CASES["sd"]))
    model.add_network("tuned", path)
    latents, t = torch.linspace(-1, 1, 512).reshape(2, 4, 8, 8), torch.tensor(500)
    texts = ["a star", "a circle"]
    with torch.inference_mode():
        cond = model.encode(texts)
        assert torch.equal(
            model.predict("tuned", latents, t, cond, 5.0), alone.predict("base", latents, t, alone.encode(texts), 5.0)
        )
        twice = model.predict("tuned", latents, t, cond.take([1, 0]), 1.0)
        assert torch.equal(twice, alone.predict("base", latents, t, alone.encode(texts[::-1]), 1.0))
    # A trunk that several methods share is the base's own, whatever the other methods bring.
    base = actions_of([0.0] * STEPS, ("base", 5.0))
    late = actions_of([0.0, 0.0, 1.0, 1.0], ("base", 5.0), ("tuned", 1.0))
    shared = {
        name: z
        for names, z in run_tree(model, build_tree({"a": base, "b": late}), as_batch(model, 7, ITEMS))
        for name in names
    }
    ((_, single),) = run_tree(model, build_tree({"b": late}), as_batch(model, 7, ITEMS))
    assert torch.equal(shared["b"], single)
    assert torch.equal(shared["a"], images(model, [0.0] * STEPS, "base")[0])


@pytest.mark.slow
def test_prompts_are_encoded_once_by_each_distinct_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tuned_pipeline(folders["sd"], tmp_path / "tuned", "sd", ("text_encoder",))
    same = tuned_pipeline(folders["sd"], tmp_path / "same", "sd", ())
    model: Any = load_model(folders["sd"], suite_for(*CASES["sd"]))
    model.add_network("tuned", path)
    model.add_network("same", same)
    assert (model.networks["same"].text, model.networks["same"].vae) == (None, None)
    calls: list[int] = []
    for side in (model.text, model.networks["tuned"].text):
        side.encoders[0].register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        model.encode(["a star", "a circle", "a star"])
    assert len(calls) == 2 * 3  # two prompts and the empty one, by two encoders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction_type": "epsilon", "rescale_betas_zero_snr": True}, 'prediction_type = "epsilon"'),
        ({"rescale_betas_zero_snr": False}, "rescale_betas_zero_snr = false"),
        ({"beta_schedule": "linear"}, 'beta_schedule = "linear"'),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, 'prediction_type = "flow matching"'),
    ],
)
def test_another_parameterisation_is_refused_by_name(
    folders: dict[str, Path], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tuned_pipeline(folders["sd"], tmp_path / "tuned", "sd", ())
    file = path / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    model = load_model(folders["sd"], suite_for(*CASES["sd"]))
    with pytest.raises(MissingError, match=words):
        model.add_network("tuned", path)
    asked = suite_for("sd", "DDPMScheduler", {key: value for key, value in change.items() if key != "_class_name"})
    if "_class_name" not in change:  # what the suite demands itself is its own business
        load_model(folders["sd"], asked).add_network("tuned", path)


def test_parts_that_are_the_base_models_are_not_its_own(folders: dict[str, Path], tmp_path: Path) -> None:
    """Half precision, other names of the files and of transformers' layers, settings of no consequence."""
    path = tuned_pipeline(folders["sd"], tmp_path / "tuned", "sd", ())
    model: Any = load_model(folders["sd"], suite_for(*CASES["sd"]))
    file = path / "text_encoder" / "model.safetensors"
    save_file({f"text_model.{key.removeprefix('text_model.')}": v for key, v in load_file(file).items()}, file)
    config = path / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": "x", "transformers_version": "1"}))
    assert own_parts(path, folders["sd"], model.parts, "float32") == ()
    save_file({key: value.half() for key, value in load_file(file).items()}, file)
    assert own_parts(path, folders["sd"], model.parts, "float16") == ()
    assert own_parts(path, folders["sd"], model.parts, "float32") == ("text_encoder",)
    config = path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.5}))
    assert own_parts(path, folders["sd"], model.parts, "float16") == ("vae",)


@pytest.mark.slow
def test_tuned_text_encoders_without_a_network(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tuned_pipeline(folders["sd"], tmp_path / "tuned", "sd", ("text_encoder",))
    shutil.rmtree(path / "unet")
    shutil.rmtree(path / "vae")
    alone = tmp_path / "alone"
    shutil.copytree(path / "text_encoder", alone / "text_encoder")
    whole = tuned_pipeline(folders["sd"], tmp_path / "whole", "sd", ("text_encoder",))
    UNet2DConditionModel.from_pretrained(folders["sd"] / "unet").save_pretrained(whole / "unet")
    expected = images(load_model(whole, suite_for(*CASES["sd"])), [0.0] * STEPS, "base")
    model: Any = load_model(folders["sd"], suite_for(*CASES["sd"]))
    model.add_network("tuned", alone)
    for got, wanted in zip(images(model, [1.0] * STEPS, "tuned"), expected, strict=True):
        assert torch.equal(got, wanted)
