"""Adapters that are refused, and the words that say what each is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import MissingError
from tests.unit.bench.models.adapter_forms import PEFT, attention, form, linear
from tests.unit.bench.models.adapter_layouts import Layout, peft, saved
from tests.unit.bench.models.adapter_truth import lora, rotated_input
from tests.unit.bench.models.adapter_world import World

Make = Callable[[World, Path], Path]


@dataclass(frozen=True)
class Refused:
    """One form, and what the sentence must say."""

    name: str
    family: str
    make: Make
    words: str


def configured(**config: Any) -> Make:
    """A LoRA of PEFT with these settings."""
    layout = Layout("PEFT", PEFT.pieces, peft(**config), said=True, peft=True)
    return lambda world, path: form(layout, pieces=attention)(world, path)[0]


def of_type(kind: str) -> Make:
    def make(world: World, path: Path) -> Path:
        folder = form(PEFT, pieces=attention)(world, path)[0]
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": kind, "r": 2}))
        return folder

    return make


def tensors(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Make:
    """kohya's file of one layer, changed."""
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"

    def make(world: World, path: Path) -> Path:
        one = {f"{layer}.lora_down.weight": torch.randn(2, 16), f"{layer}.lora_up.weight": torch.randn(16, 2)}
        return saved(path / "x.safetensors", change(one | {f"{layer}.alpha": torch.tensor(2.0)}))

    return make


def with_key(ending: str) -> Make:
    return tensors(lambda one: one | {next(iter(one)).partition(".")[0] + ending: torch.randn(2, 2)})


def named(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], **more: Tensor) -> Make:
    """A LoRA of one layer with this name."""
    a, b = (torch.randn(*shape) for shape in shapes)
    files = {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b, **more}
    return lambda world, path: saved(path / "x.safetensors", files)


def loha_of(name: str) -> Make:
    parts = {"hada_w1_a": (8, 2), "hada_w1_b": (2, 8), "hada_w2_a": (8, 2), "hada_w2_b": (2, 8)}
    files = {f"lora_unet_{name}.{key}": torch.randn(*shape) for key, shape in parts.items()}
    return lambda world, path: saved(path / "x.safetensors", files)


def cut(world: World, path: Path) -> Path:
    file = tensors(lambda one: one)(world, path)
    file.write_bytes(file.read_bytes()[:-7])
    return file


def two_adapters(world: World, path: Path) -> Path:
    names = [f"base_model.model.conv_out.lora_{half}.{name}.weight" for half in "AB" for name in ("a", "b")]
    return saved(path / "x.safetensors", {name: torch.randn(4, 8) for name in names})


def oft(**config: Any) -> Make:
    settings = {"r": 0, "oft_block_size": 4, "coft": False, "block_share": False, "use_cayley_neumann": True, **config}
    layout = Layout("PEFT", PEFT.pieces, peft(**settings), said=True, peft=True)
    return lambda world, path: form(layout, rotated_input, pieces=linear)(world, path)[0]


def without_config(world: World, path: Path) -> Path:
    folder = oft()(world, path)
    (folder / "adapter_config.json").unlink()
    return folder


def other_rank(world: World, path: Path) -> Path:
    folder = form(PEFT, lora, pieces=attention)(world, path)[0]
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    return folder


def only_down(one: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in one.items() if "up" not in key}


def and_more(one: dict[str, Tensor]) -> dict[str, Tensor]:
    return one | {"lora_unet_what.is.this": torch.ones(1)}


def odd_rotations(world: World, path: Path) -> Path:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.oft_blocks"
    return saved(path / "x.safetensors", {key: torch.randn(2, 5, 5)})


def filled(value: float | None, factor: str = "up") -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """The factors of this name filled with a value; None: as 8-bit integers."""

    def change(one: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            key: (tensor.to(torch.int8) if value is None else torch.full_like(tensor, value))
            if factor in key
            else tensor
            for key, tensor in one.items()
        }

    return change


def of_rank_zero(one: dict[str, Tensor]) -> dict[str, Tensor]:
    def cut_to_none(key: str, tensor: Tensor) -> Tensor:
        return tensor[:0] if "lora_down" in key else tensor[:, :0] if "lora_up" in key else tensor

    return {key: cut_to_none(key, tensor) for key, tensor in one.items()}


def twice(prefix: str, ending: str = "lora_A.weight", shape: tuple[int, ...] = (2, 16)) -> Make:
    """One tensor under two keys that mean the same."""
    keys = [f"unet.{SD}.{half}.weight" for half in ("lora_A", "lora_B")]
    other = prefix + (SD.replace(".", "_") if prefix.endswith("_") else SD)
    more = {f"unet.{SD}.{ending}": torch.randn(*shape), f"{other}.{ending}": torch.randn(*shape)}
    factors = dict(zip(keys, (torch.randn(2, 16), torch.randn(16, 2)), strict=True)) if "lora" in ending else {}
    return lambda world, path: saved(path / "x.safetensors", factors | more)


def split(world: World, path: Path) -> Path:
    """PEFT's example trainers save each part of a pipeline in a folder of its own."""
    for part in ("unet", "text_encoder"):
        form(PEFT, pieces=attention)(world, path / part)
    return path


def bad_pattern(value: Any) -> Make:
    return configured(rank_pattern={}, alpha_pattern=value)


def pickled(world: World, path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "adapter_model.bin").write_bytes(b"PK\x03\x04")
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    return path


def bundled(world: World, path: Path) -> Path:
    more = {"bundle_emb.cat.string_to_param.*": torch.zeros(1, 16)}
    return tensors(lambda one: one | more)(world, path)


def numbered(world: World, path: Path) -> Path:
    return saved(path / "x.safetensors", {"unet:0:down": torch.randn(2, 16), "unet:0:up": torch.randn(16, 2)})


CONVERT = r"initialised with init_lora_weights='{}', which changed the base weights.*Convert it with PEFT"
QWEN = "transformer.transformer_blocks.0.img_mlp.net.2"
FLUX = "transformer.single_transformer_blocks.0.attn.to_q"
SD = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
SDXL = "down_blocks_2_attentions_1_transformer_blocks_1_attn1_to_q"
SMALL, LARGE = ((2, 8), (8, 2)), ((2, 320), (320, 2))
REFUSED = (
    *(
        Refused(f"PEFT, init {init}, not converted", "sd", configured(init_lora_weights=init), CONVERT.format(init))
        for init in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga")
    ),
    *(
        Refused(f"PEFT, type {kind}", "sd", of_type(kind), f"is a PEFT adapter of type {kind}, which is not read")
        for kind in ("IA3", "ADALORA", "BOFT", "VERA")
    ),
    Refused("PEFT, QALoRA", "sd", configured(use_qalora=True), "PEFT settings that are not supported: use_qalora"),
    Refused(
        "PEFT, layer replication", "sd", configured(layer_replication=[[0, 2]]), "not supported: layer_replication"
    ),
    Refused("PEFT, rank of another file", "sd", other_rank, "states rank 8 .*matrices have 2: it belongs"),
    Refused("PEFT, pickled (.bin)", "sd", pickled, "pickle"),
    Refused("PEFT, OFT of a version before 0.18", "sd", oft(peft_version="0.17.1"), "of a PEFT before 0.18"),
    Refused("PEFT, OFT without adapter_config.json", "sd", without_config, "without its adapter_config.json"),
    Refused("(IA)^3, LyCORIS", "sd", with_key(".on_input"), r"has an \(IA\)\^3 adapter"),
    Refused("GLoRA, LyCORIS", "sd", with_key(".a1.weight"), "has a GLoRA adapter"),
    Refused("BOFT", "sd", with_key(".boft_blocks"), "has a BOFT adapter"),
    Refused("AdaLoRA", "sd", with_key(".lora_E"), "has an AdaLoRA adapter"),
    Refused("LoRA of an embedding", "sd", with_key(".lora_embedding_A"), "has a LoRA of an embedding"),
    Refused("scaled fp8", "sd", with_key(".scale_weight"), "has weights in scaled fp8"),
    Refused("first matrix with a bias", "sd", with_key(".lora_A.bias"), "first matrix has a bias"),
    Refused("several adapters in one file", "sd", two_adapters, r"contains several adapters \(a, b\)"),
    Refused("half of a layer is missing", "sd", tensors(only_down), "incomplete LoRA: it lacks .*lora_B; download"),
    Refused("NaN in a factor", "sd", tensors(filled(float("nan"))), r"contains NaN or infinite values \(lora_"),
    Refused("infinite factor", "sd", tensors(filled(float("inf"))), "contains NaN or infinite values"),
    Refused("NaN as alpha", "sd", tensors(filled(float("nan"), "alpha")), "contains NaN or infinite values .*alpha"),
    Refused("rank 0", "sd", tensors(of_rank_zero), "is damaged: the factors of .* have rank 0"),
    Refused("factors as 8-bit integers", "sd", tensors(filled(None)), r"contains integers \(.*: int8\), where"),
    Refused("one key twice", "sd", twice("module.unet."), "damaged: it contains the A of .* twice"),
    Refused("one rotation twice", "sd", twice("lora_unet_", "oft_blocks", (2, 8, 8)), "damaged: it has two adapters"),
    Refused("pattern that is no object", "sd", bad_pattern([3]), "states alpha_pattern = .*must be an object"),
    Refused("pattern that is no number", "sd", bad_pattern({"to_q": "x"}), "states alpha_pattern.to_q = 'x', but"),
    Refused("PEFT, a folder for each part", "sd", split, "adapters for text_encoder and unet in folders .*give X/unet"),
    Refused("textual inversions inside (bundle_emb)", "sd", bundled, "contains textual inversions beside its adapter"),
    Refused("cloneofsimo's layout", "sd", numbered, "has a LoRA in cloneofsimo's layout"),
    Refused("truncated file", "sd", cut, "is damaged .*download the file again"),
    Refused("LoRA of FLUX for Stable Diffusion", "sd", named(FLUX, SMALL), "is a LoRA for FLUX, and the suite's"),
    Refused("LoRA of SD for PixArt", "pixart", named(f"unet.{SD}", SMALL), "is a LoRA for Stable Diffusion 1"),
    Refused("LoHa of SDXL for SD", "sd", loha_of(SDXL), "is a LoHa adapter for Stable Diffusion XL, and the suite's"),
    Refused("LoRA of Qwen-Image for FLUX", "flux", named(QWEN, SMALL), "LoRA for Qwen-Image, .* model is FLUX"),
    Refused("LoRA of other widths", "sd", named(f"unet.{SD}", LARGE), r"shape \(2, 320\) for a layer of \(16, 16\)"),
    Refused("OFT of other sizes", "sd", odd_rotations, "of another model than the suite's"),
    Refused("LoRA with unknown tensors", "sd", tensors(and_more), "some of its layers are not in it: lora_unet_what"),
)  # fmt: skip


def refusals(root: Path) -> Iterator[tuple[Refused, str]]:
    """Each form with its sentence; the base network must be the same to the last bit afterwards."""
    worlds: dict[str, World] = {}
    for index, one in enumerate(REFUSED):
        if one.family not in worlds:
            worlds[one.family] = World(one.family, root / one.family)
        world = worlds[one.family]
        path = one.make(world, root / f"form{index}")
        yield one, _sentence(world, path)


def _sentence(world: World, path: Path) -> str:
    from tests.unit.bench.models.adapter_world import prediction

    model = world.model()
    try:
        model.add_network("x", path)
    except MissingError as error:
        same = torch.equal(prediction(model, "base"), world.before)
        return str(error).replace(str(path), "X") if same else "refused, and the base network changed"
    return "loaded"
