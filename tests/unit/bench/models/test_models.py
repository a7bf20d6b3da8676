"""The Stable Diffusion adapter and the checkpoints: what loads, and one sentence for what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from bench.errors import BenchError, MissingError, UsageError
from bench.models.load import load_model
from bench.models.sd import StableDiffusion
from bench.registry.families import FAMILIES
from tests.tolerance import assert_close, relative_difference
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite, tiny_unet

UNET = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny_pipeline(tmp_path_factory.mktemp("tiny") / "pipeline")
    tiny_unet(5).save_pretrained(path.parent / "tuned")
    return path


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "pipeline"))


@torch.inference_mode()
def prediction(model: StableDiffusion, network: str) -> torch.Tensor:
    latents = torch.linspace(-1, 1, 512).reshape(2, 4, 8, 8)
    return model.predict(network, latents, torch.tensor(500), model.encode(["a star", "a circle"]), 2.0)


def lora(folder: Path, layout: str, path: Path) -> torch.Tensor:
    """Write a LoRA with random factors; returns the prediction of the network that has it."""
    model = StableDiffusion(folder, tiny_suite())
    model.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), "x")
    torch.manual_seed(3)
    for name, value in model.unet.named_parameters():
        if "lora_" in name:
            value.data.normal_()
    state = get_peft_model_state_dict(model.unet, adapter_name="x")
    prefix = {"diffusers": "unet.", "peft": "base_model.model."}[layout]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({prefix + key: value.contiguous() for key, value in state.items()}, path)
    return prediction(model, "base")


def test_encoding_guidance_and_decoding(folder: Path) -> None:
    model = load_model(folder, tiny_suite())
    cond = model.encode(["a star", "a circle", "a star"])
    assert torch.equal(cond.states["text"][0], cond.states["text"][2])
    assert torch.equal(cond.take([2, 1]).states["text"][1], cond.states["text"][1])
    assert model.latents_shape == (4, 8, 8)
    images = model.decode(torch.randn(2, 4, 8, 8))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (2, 3, 32, 32))


def test_a_prompt_that_is_cut_is_said_once(folder: Path, said: list[str]) -> None:
    model = load_model(folder, tiny_suite())
    for _ in range(2):
        model.encode(["a star " * 30, "a circle"])
    assert said == ["1 prompt is longer than the text encoder's limit of 24 tokens; the rest is truncated"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["diffusers", "peft"])
def test_a_lora_is_switched_on_one_network(folder: Path, tmp_path: Path, layout: str) -> None:
    file = tmp_path / "lora" / ("adapter_model.safetensors" if layout == "peft" else "mine.safetensors")
    expected = lora(folder, layout, file)
    model = StableDiffusion(folder, tiny_suite())
    before = prediction(model, "base")
    model.add_network("lora", file)
    for _ in range(2):
        assert torch.equal(prediction(model, "base"), before)
        assert_close(prediction(model, "lora"), expected)
    assert relative_difference(before, expected) > 1e-3
    assert model.networks["lora"].module is model.networks["base"].module
    model.add_network("tuned", folder.parent / "tuned")  # beside a LoRA, a whole network still fits
    assert not torch.equal(prediction(model, "tuned"), before)


@pytest.mark.slow
def test_whole_networks_load_in_every_form(folder: Path, tmp_path: Path) -> None:
    tuned = folder.parent / "tuned"
    (tmp_path / "pipe").mkdir()
    shutil.copytree(tuned, tmp_path / "pipe" / "unet")
    shutil.copytree(tuned, tmp_path / "two" / "fine_tuned_unet")
    shutil.copytree(folder / "unet", tmp_path / "two" / "original_unet")
    model = StableDiffusion(folder, tiny_suite())
    for name, path in {"a": tuned, "b": tmp_path / "pipe", "c": tmp_path / "two", "d": tuned / UNET}.items():
        model.add_network(name, path)
        assert torch.equal(prediction(model, name), prediction(model, "a"))


def test_damaged_folders_are_one_sentence(broken: Path) -> None:
    weights = broken / "unet" / UNET
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingError, match=rf"unet/{UNET} is damaged"):
        StableDiffusion(broken, tiny_suite())
    tensors = load_file(folder_weights := broken / "vae" / UNET)
    save_file({key: value for key, value in tensors.items() if "decoder.conv_in" not in key}, folder_weights)
    weights.write_bytes(whole)
    with pytest.raises(MissingError, match=r"lacks decoder.conv_in.bias, decoder.conv_in.weight"):
        StableDiffusion(broken, tiny_suite())
    folder_weights.unlink()
    with pytest.raises(MissingError, match=r"vae contains no .safetensors file"):
        StableDiffusion(broken, tiny_suite())
    (broken / "unet" / "config.json").write_text("{")
    with pytest.raises(MissingError, match=r"unet/config.json is damaged"):
        StableDiffusion(broken, tiny_suite())
    shutil.rmtree(broken / "scheduler")
    with pytest.raises(MissingError, match=r"scheduler/scheduler_config.json is missing"):
        StableDiffusion(broken, tiny_suite())


def test_checkpoints_that_do_not_fit_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    model = StableDiffusion(folder, tiny_suite())
    before = prediction(model, "base")
    tiny_unet(1, channels=(8, 12)).save_pretrained(tmp_path / "other")
    save_file({"x.lora_A.weight": torch.zeros(2, 4), "x.lora_B.weight": torch.zeros(4, 2)}, tmp_path / "no.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    (tmp_path / "old.ckpt").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    cases = {
        "other": r"checkpoint of another model than the suite's: other shapes for .*expected",
        "no.safetensors": "is a LoRA of another model than the suite's .*its layers are not in it: x",
        "bad.safetensors": "is damaged",
        "old.ckpt": "is a pickled file",
        "absent": "does not exist",
        "empty": "contains no network",
    }
    for index, (name, part) in enumerate(cases.items()):
        with pytest.raises(MissingError, match=part):
            model.add_network(f"n{index}", tmp_path / name)
    assert set(model.networks) == {"base"}
    assert torch.equal(prediction(model, "base"), before)


@pytest.mark.parametrize(
    ("suite", "part"),
    [
        (tiny_suite("DDPMShceduler"), "Did you mean 'DDPMScheduler'"),
        (tiny_suite(options={"clip_sampel": False}), "Did you mean 'clip_sample'"),
        (tiny_suite(resolution=30), "multiple of 4"),
        (tiny_suite(dtype="float8"), "unknown dtype"),
    ],
)
def test_wrong_settings_are_one_sentence(folder: Path, suite: object, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        load_model(folder, suite)  # type: ignore[arg-type]


def test_an_unknown_family(folder: Path) -> None:
    suite = tiny_suite()
    suite.model.family = "sdd"
    with pytest.raises(BenchError, match="Did you mean 'sd'"):
        load_model(folder, suite)


@pytest.mark.parametrize(
    ("dtype", "words"), [("float16", "float16 overflows beyond 65504"), ("bfloat16", "the dtype has enough range")]
)
def test_pictures_of_no_numbers_are_refused(folder: Path, dtype: str, words: str) -> None:
    model = StableDiffusion(folder, tiny_suite(dtype=dtype))
    latents = torch.zeros(3, 4, 8, 8, dtype=model.dtype)
    assert model.decode(latents).shape == (3, 3, 32, 32)
    latents[2] = torch.nan
    with pytest.raises(UsageError, match=f"1 of 3 images contain NaN or infinite values .*{words}"):
        model.decode(latents)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("math:Missing", "cannot be loaded from 'math:Missing': module 'math' has no attribute 'Missing'"),
        ("no_such_module:Model", "cannot be loaded from 'no_such_module:Model': No module named 'no_such_module'"),
        ("math:pi", r"math:pi has no classmethod load\(folder, suite, device\)"),
    ],
)
def test_a_family_whose_class_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    monkeypatch.setattr(FAMILIES, "_targets", {**FAMILIES._targets, "mine": target})
    suite = tiny_suite()
    suite.model.family = "mine"
    with pytest.raises(UsageError, match=f"model family 'mine'.* {words}"):
        load_model(folder, suite)
