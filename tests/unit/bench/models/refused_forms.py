"""Whole checkpoints that are refused, and the words that say what each is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from bench.errors import MissingError, UsageError
from bench.models.families import family_of_index
from bench.models.loading import quiet
from tests.unit.bench.models.whole_forms import SHARDS, WEIGHTS, World, prediction, saved, write

Make = Callable[[World, Path], Path]
NETWORKS: dict[str, dict[str, Any]] = {
    "ChromaTransformer2DModel": {
        "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": 8, "axes_dims_rope": (4, 6, 6), "approximator_hidden_dim": 8, "approximator_layers": 1,
        "approximator_num_channels": 16,
    },
    "Lumina2Transformer2DModel": {
        "sample_size": 8, "in_channels": 4, "hidden_size": 24, "num_layers": 1, "num_refiner_layers": 1,
        "num_attention_heads": 3, "num_kv_heads": 1, "axes_dim_rope": (4, 2, 2), "cap_feat_dim": 8,
    },
}  # fmt: skip
TITLES = {"Chroma": "Chroma", "Lumina2": "Lumina2"}


@dataclass(frozen=True)
class Refused:
    """One form, as tuned weights or as the base model, and what the sentence must say."""

    name: str
    family: str
    make: Make
    words: str
    base: bool = False


def bytes_at(name: str, content: bytes = b"1") -> Make:
    def make(world: World, path: Path) -> Path:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
        return path

    return make


def file_at(name: str, content: bytes = b"1") -> Make:
    return lambda world, path: bytes_at(name, content)(world, path) / name


def outputs(*steps: str) -> Make:
    def make(world: World, path: Path) -> Path:
        for step in steps:
            saved()(world, path / step / world.part)
        return path

    return make


def part_of_base(name: str) -> Make:
    return lambda world, path: Path(shutil.copytree(world.base / name, path))


def scheduler(**change: Any) -> Make:
    def make(world: World, path: Path) -> Path:
        shutil.copytree(world.full, path)
        file = path / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        return path

    return make


def index_says(name: str) -> Make:
    def make(world: World, path: Path) -> Path:
        shutil.copytree(world.base, path)
        index = json.loads((path / "model_index.json").read_text())
        (path / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
        return path

    return make


def other_network(kind: str) -> Make:
    def make(world: World, path: Path) -> Path:
        torch.manual_seed(0)
        with quiet():  # diffusers warns of itself
            getattr(diffusers, kind)(**NETWORKS[kind]).save_pretrained(path)
        return path

    return make


def inpainting(world: World, path: Path) -> Path:
    UNet2DConditionModel.from_config({**world.net.config, "in_channels": 9}).save_pretrained(path)
    return path


def lost_shard(world: World, path: Path) -> Path:
    saved(**SHARDS)(world, path)
    sorted(path.glob("*.safetensors"))[-1].unlink()
    return path


def two_models(world: World, path: Path) -> Path:
    write(path / "a.safetensors", world.state)
    write(path / "b.safetensors", world.state)
    return path


def scaled_fp8(world: World, path: Path) -> Path:
    tensors = {key: value.to(torch.float8_e4m3fn) for key, value in world.state.items()}
    scales = {key.replace(".weight", ".scale_weight"): torch.tensor(0.01) for key in tensors if "to_q" in key}
    return write(path / "x.safetensors", tensors | scales | {"scaled_fp8": torch.zeros(2)})


def truncated(world: World, path: Path) -> Path:
    file = write(path / "x.safetensors", world.state)
    file.write_bytes(file.read_bytes()[:-64])
    return file


def only_pickled(world: World, path: Path) -> Path:
    world.net.save_pretrained(path, safe_serialization=False)
    return path


def tensors_of(name: str) -> Make:
    return lambda world, path: write(path / "x.safetensors", load_file(next((world.base / name).glob("*.safetensors"))))


def pickled_base(world: World, path: Path) -> Path:
    shutil.copytree(world.base, path)
    shutil.rmtree(path / "unet")
    world.net.save_pretrained(path / "unet", safe_serialization=False)
    return path


def changed(change: Callable[[torch.Tensor], torch.Tensor], folder: bool = False) -> Make:
    """The network with each tensor changed, as one file or in its folder."""

    def make(world: World, path: Path) -> Path:
        tensors = {key: change(value) for key, value in world.state.items()}
        if not folder:
            return write(path / "x.safetensors", tensors)
        saved()(world, path)
        write(path / WEIGHTS, tensors)
        return path

    return make


def not_a_number(value: torch.Tensor) -> torch.Tensor:
    return torch.full_like(value, float("nan"))


def integers(value: torch.Tensor) -> torch.Tensor:
    return (value * 100).to(torch.int8)


def whole_and_shards(world: World, path: Path) -> Path:
    saved(**SHARDS)(world, path)
    write(path / WEIGHTS, world.state)
    return path


def quantised(world: World, path: Path) -> Path:
    saved()(world, path)
    config = json.loads((path / "config.json").read_text())
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (path / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return path


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64
PICKLED = "a pickled file .*can run code when it is read"
REFUSED = (
    Refused("output folder with several checkpoints", "sd", outputs("checkpoint-500", "checkpoint-1000", "logs"),
            r"several checkpoints of a training run \(checkpoint-500, checkpoint-1000\): give the path"),
    Refused("several files", "sd", two_models, r"several checkpoints \(a.safetensors, b.safetensors\)"),
    Refused("sharded, a shard lost", "sd", lost_shard, r"is incomplete: of its \d+ shards .* is missing"),
    Refused("truncated file", "sd", truncated, "is damaged .*download the file again"),
    Refused("file with a bad header", "sd", file_at("x.safetensors", b"no"), "is damaged .*download the file again"),
    Refused("network folder, .bin only", "sd", only_pickled, r"contains no .safetensors file: .*\.bin can run code"),
    Refused("PEFT adapter_model.bin", "sd", bytes_at("adapter_model.bin"), f"contains adapter_model.bin, {PICKLED}"),
    Refused("one file, NaN", "sd", changed(not_a_number), r"contains NaN or infinite values \(.*training diverged"),
    Refused("network folder, NaN", "flux", changed(not_a_number, folder=True), "contains NaN or infinite values"),
    Refused("one file, 8-bit integers", "sd", changed(integers), r"contains integers \(.*quantised weights"),
    Refused("network folder, 8-bit integers", "sd", changed(integers, folder=True), r"contains integers \(.*quantised"),
    Refused("shards and a whole file", "sd", whole_and_shards, r"contains one network twice, whole \(.*remove the one"),
    Refused("quantised by bitsandbytes", "sd", quantised, r"is quantised \(bitsandbytes\), which is not supported"),
    Refused("one file without tensors", "sd", lambda world, path: write(path / "x.safetensors", {}),
            "contains no tensors"),
    Refused("a Git LFS pointer", "sd", file_at("x.safetensors", POINTER),
            "is damaged .a Git LFS pointer in place of the file.*download the file again"),
    Refused("a web page", "sd", file_at("x.safetensors", b"<!DOCTYPE html><html><body>" + b"x" * 99),
            "is damaged .a web page in place"),
    Refused("one .pt file", "sd", file_at("x.pt"), PICKLED),
    Refused("one .ckpt file", "sd", file_at("x.ckpt"), PICKLED),
    Refused("one .gguf file", "flux", file_at("x.gguf"), "is a GGUF file"),
    Refused("DeepSpeed ZeRO", "sd", bytes_at("pytorch_model/mp_rank_00_model_states.pt"), "is a DeepSpeed ZeRO"),
    Refused("FSDP shards", "flux", bytes_at("pytorch_model_fsdp_0/__0_0.distcp"), "is a sharded FSDP checkpoint"),
    Refused("scaled fp8 (ComfyUI)", "sd", scaled_fp8, "contains scaled fp8 weights"),
    Refused("inpainting UNet", "sd", inpainting, r"other shapes for conv_in.weight .*\(\d+, 9, 3, 3\)"),
    Refused("a VAE's folder", "sd", part_of_base("vae"), r"is a VAE \(AutoencoderKL\), but"),
    Refused("a VAE's file", "sd", tensors_of("vae"), "is a VAE, but the suite's model needs"),
    Refused("a text encoder's folder", "sd", part_of_base("text_encoder"), r"is a text encoder \(CLIPTextModel\), but"),
    Refused("a text encoder's file", "sd", tensors_of("text_encoder"), r"is a text encoder \(CLIP\), but"),
    Refused("T5's file", "flux", tensors_of("text_encoder_2"), r"is a text encoder \(T5\), but"),
    Refused("empty folder", "sd", lambda world, path: path.mkdir() or path, "contains no network"),  # type: ignore[func-returns-value]
    Refused("full pipeline of another prediction type", "sd", scheduler(prediction_type="epsilon"),
            'was trained with prediction_type = "epsilon", but'),
    Refused("full pipeline with another zero-SNR setting", "sd", scheduler(rescale_betas_zero_snr=False),
            "was trained with rescale_betas_zero_snr = false, but"),
    Refused("full pipeline of another noise schedule", "sdxl", scheduler(beta_schedule="squaredcos_cap_v2"),
            "was trained with beta_schedule ="),
    Refused("full pipeline of flow matching", "sd", scheduler(_class_name="FlowMatchEulerDiscreteScheduler"),
            'was trained with prediction_type = "flow matching", but'),
    *(Refused(f"network of another family ({kind})", "flux", other_network(kind),
              f"contains a network of {TITLES[kind.removesuffix('Transformer2DModel')]} .*families read: sd, .*plugins")
      for kind in NETWORKS),
    Refused("base: one safetensors file", "sd", lambda world, path: write(path / "x.safetensors", world.state),
            "is a single file .*a base model must be a pipeline folder", base=True),
    Refused("base: network folder", "sd", saved(), "is a UNet2DConditionModel .*must be a pipeline folder", base=True),
    Refused("base: LoRA", "sd", bytes_at("pytorch_lora_weights.safetensors"), "is a LoRA: .*pipeline folder", True),
    Refused("base: VAE", "sd", part_of_base("vae"), "is a VAE .*must be a pipeline folder", base=True),
    Refused("base: pickled network", "sd", pickled_base, "contains no .safetensors file: .*can run code", base=True),
    *(Refused(f"base: {name}", "flux", index_says(name), f"{title} pipeline .*; families read: .*plugins", base=True)
      for name, title in {"Flux2Pipeline": "a FLUX.2", "ChromaPipeline": "a Chroma", "AuraFlowPipeline": "an Aura Flow",
                          "QwenImageEditPipeline": "a Qwen Image Edit", "SanaSprintPipeline": "a Sana Sprint"}.items()
      if family_of_index({"_class_name": name}) is None),  # until it is read
    Refused("base: StableDiffusionInpaintPipeline", "sd", index_says("StableDiffusionInpaintPipeline"),
            "is a Stable Diffusion Inpaint pipeline", base=True),
    Refused("base: KolorsPipeline", "sdxl", index_says("KolorsPipeline"), "is a Kolors pipeline", base=True),
)  # fmt: skip


def refusals(root: Path) -> Iterator[tuple[Refused, str]]:
    """Each form with the sentence that refuses it; "" where nothing did, "base changed" where it left a trace."""
    worlds: dict[str, World] = {}
    for index, one in enumerate(REFUSED):
        if one.family not in worlds:
            worlds[one.family] = World(one.family, root / one.family)
        world, path = worlds[one.family], root / f"refused{index}"
        path = one.make(world, path)
        yield one, sentence(world, one, path).replace(str(path), "X").replace(str(root), "")


def sentence(world: World, one: Refused, path: Path) -> str:
    if one.base:
        try:
            world.model(path)
        except (MissingError, UsageError) as error:
            return str(error)
        return ""
    model = world.model()
    before = prediction(model, "base")
    try:
        model.add_network("tuned", path)
    except (MissingError, UsageError) as error:
        return str(error) if torch.equal(prediction(model, "base"), before) else "base changed"
    return ""


__all__ = ["REFUSED", "WEIGHTS", "refusals"]
