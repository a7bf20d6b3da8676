"""The networks inside DreamSim's published types, built without the code that torch.hub would fetch and run.

The `dreamsim` package takes DINO's and DINOv2's networks from torch.hub, which executes the hubconf.py that lies in the
weights folder. Here they are the package's own vision transformer with the same weights: DINO's as they are, DINOv2's
with its layer scales multiplied into the layers before them (exact up to rounding).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metrics.errors import MetricError, MissingWeightsError
from metrics.weights.hub import fetch_release
from metrics.weights.state_dict import load_strict, read_state


@dataclass(frozen=True, slots=True)
class Trunk:
    """A network of the package: its file below the weights folder and, where the package's release lacks it, whence."""

    file: str
    url: str | None = None


_META = "https://dl.fbaipublicfiles.com"
DINO = "dino_vitb16"
DINOV2 = "dinov2_vitb14"
TRUNKS = {
    DINO: Trunk("checkpoints/dino_vitbase16_pretrain.pth", f"{_META}/dino/dino_vitbase16_pretrain/"),
    DINOV2: Trunk("checkpoints/dinov2_vitb14_pretrain.pth", f"{_META}/dinov2/dinov2_vitb14/"),
    "clip_vitb16": Trunk("clip_vitb16_pretrain.pth.tar"),
    "clip_vitb32": Trunk("clip_vitb32_pretrain.pth.tar"),
    "open_clip_vitb16": Trunk("open_clip_vitb16_pretrain.pth.tar"),
    "open_clip_vitb32": Trunk("open_clip_vitb32_pretrain.pth.tar"),
}
_PATCH = "_patch"  # ends the types that were trained on CLS and patch features
TYPES = {
    "ensemble": (DINO, "clip_vitb16", "open_clip_vitb16"),
    **{name: (name,) for name in (DINO, "open_clip_vitb32", "clip_vitb32", DINOV2)},
    **{name + _PATCH: (name,) for name in (DINO, DINOV2)},
}
_DINOV2_SIZE = 518  # pixels that its position embeddings are for
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")  # in the order in which peft looks for them


def is_patch(kind: str) -> bool:
    """Whether a type measures CLS and patch features: `embed` gives [B, 1 + patches, D], the CLS token first."""
    return kind.endswith(_PATCH)


def published_network(kind: str, folder: Path, device: torch.device) -> Any:
    """The `dreamsim` package's network of a type, from a folder of its files; what is missing is fetched.

    MissingWeightsError names the command that fetches it.
    """
    _fetch_trunks(kind, folder)
    command = f"python -c \"from dreamsim import dreamsim; dreamsim(device='cpu', cache_dir='{folder}', "
    base = kind.removesuffix(_PATCH)
    command += f"dreamsim_type='{base}', use_patch_model={is_patch(kind)})\""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _own_trunks():
            warnings.simplefilter("ignore")
            from dreamsim import dreamsim

            network, _ = dreamsim(
                device=str(device), cache_dir=str(folder), dreamsim_type=base, use_patch_model=is_patch(kind)
            )
    except (ModuleNotFoundError, MetricError):
        raise
    except Exception as error:  # urllib, zip, pickle and key errors of the package: absent or damaged files
        raise MissingWeightsError(
            f"DreamSim: the weights of type '{kind}' in '{folder}' are absent or damaged and could not be downloaded "
            f"({type(error).__name__}): run `{command}` on a machine with network access"
        ) from error
    return network.requires_grad_(False).eval()


def files_of(kind: str, folder: Path) -> dict[str, Path]:
    """What a type reads, by the name below the folder: one file for each network, and the adapter."""
    adapter = f"{kind}_lora" if kind == "ensemble" or is_patch(kind) else f"{kind}_single_lora"
    weights = next((name for name in _ADAPTERS if (folder / adapter / name).is_file()), _ADAPTERS[-1])
    names = [TRUNKS[part].file for part in TYPES[kind]]
    return {name: folder / name for name in (*names, f"{adapter}/adapter_config.json", f"{adapter}/{weights}")}


def _fetch_trunks(kind: str, folder: Path) -> None:
    """Fetch the files that torch.hub would: those which no release of the package holds."""
    for part in TYPES[kind]:
        trunk = TRUNKS[part]
        if trunk.url is not None:
            path = folder / trunk.file
            fetch_release(trunk.url + path.name, None, "DreamSim", path)


@contextlib.contextmanager
def _own_trunks() -> Iterator[None]:
    """While the package builds its networks, those of torch.hub are `dino` and `dinov2` instead."""
    from dreamsim.feature_extraction.extractor import ViTExtractor

    original = ViTExtractor.create_model
    makers = {DINO: dino, DINOV2: dinov2}

    def create_model(model_type: str, load_dir: str = "./models") -> Any:
        if model_type in makers:
            return makers[model_type](Path(load_dir) / TRUNKS[model_type].file)
        return original(model_type, load_dir)

    ViTExtractor.create_model = staticmethod(create_model)
    try:
        yield
    finally:
        ViTExtractor.create_model = staticmethod(original)


def dino(path: Path) -> Any:
    """DINO ViT-B/16 from its published file."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    network = vit_base(patch_size=16, num_classes=0)
    load_strict(network, read_state(path), f"DreamSim: '{path}'")
    return network


def dinov2(path: Path) -> Any:
    """DINOv2 ViT-B/14 from its published file; equal up to rounding to the network of its authors."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    network = vit_base(patch_size=14, img_size=[_DINOV2_SIZE], num_classes=0)
    load_strict(network, without_layer_scale(read_state(path)), f"DreamSim: '{path}'", drop=("mask_token",))
    return network


def without_layer_scale(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's tensors with each block's `ls1.gamma` and `ls2.gamma` [D] multiplied into what they scale."""
    kept = {key: value for key, value in state.items() if ".ls" not in key}
    for key, gamma in state.items():
        block, _, scale = key.rpartition(".ls")
        if not scale:
            continue
        layer = f"{block}.attn.proj" if scale.startswith("1") else f"{block}.mlp.fc2"
        if f"{layer}.weight" in kept:
            kept[f"{layer}.weight"] = kept[f"{layer}.weight"] * gamma[:, None]
            kept[f"{layer}.bias"] = kept[f"{layer}.bias"] * gamma
    return kept
