"""The trunks of LPIPS and DreamSim at their full size, in the files that the originals look for.

Their sizes are fixed in the originals. The random matrices overlap in small storages, so that the files stay small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.doctor.parity.tensors import Draw

State = dict[str, Tensor]

TRUNK_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
_VIT_WIDTH, _VIT_LAYERS, _PROJECTION, _RANK = 768, 12, 512, 16

# What torch.hub loads for DINO, with the network class that the dreamsim package carries itself.
_HUBCONF = '''\
dependencies = ["torch"]

import os

import torch


def dino_vitb16(pretrained=True, **kwargs):
    """The network of the fixture beside this file."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    model = vit_base(patch_size=16, num_classes=0, **kwargs)
    if pretrained:
        path = os.path.join(torch.hub.get_dir(), "checkpoints", "dino_vitbase16_pretrain.pth")
        model.load_state_dict(torch.load(path, map_location="cpu"), strict=True)
    return model
'''


def _architecture(net: str) -> Any:
    from torchvision import models

    return {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}[net]


def lpips_trunk(draw: Draw, net: str, folder: Path) -> None:
    """torchvision's file of one trunk. Its classifier is zero (and stored as one number): LPIPS never runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in _architecture(net)(weights=None).state_dict().items()}
    state: State = {}
    for key, shape in shapes.items():
        if key.startswith("classifier."):
            state[key] = torch.zeros(1).expand(shape)
        elif len(shape) > 1:
            incoming = shape[1] * shape[2] * shape[3]
            state[key] = draw.tiled(f"{net} {key}", *shape, scale=(2 / incoming) ** 0.5)  # ReLU halves the energy
        else:
            state[key] = draw.tensor(f"{net} {key}", *shape, scale=0.05)
    torch.save(state, folder / TRUNK_FILES[net])


def _vit(draw: Draw, scope: str, patch: int, clip: bool) -> Iterator[tuple[str, Tensor]]:
    width, tokens = _VIT_WIDTH, (224 // patch) ** 2 + 1

    def matrix(name: str, *shape: int, scale: float) -> tuple[str, Tensor]:
        return name, draw.tiled(f"{scope} {name}", *shape, scale=scale)

    def vector(name: str, size: int, scale: float = 0.05, shift: float = 0.0) -> tuple[str, Tensor]:
        return name, draw.tensor(f"{scope} {name}", size, scale=scale, shift=shift)

    def norm(name: str) -> Iterator[tuple[str, Tensor]]:
        yield vector(f"{name}.weight", width, 0.1, 1.0)
        yield vector(f"{name}.bias", width)

    yield "cls_token", draw.tensor(f"{scope} cls_token", 1, 1, width, scale=0.5)
    yield "pos_embed", draw.tensor(f"{scope} pos_embed", 1, tokens, width, scale=0.3)
    yield matrix("patch_embed.proj.weight", width, 3, patch, patch, scale=(3 * patch**2) ** -0.5)
    yield vector("patch_embed.proj.bias", width)
    for block in (f"blocks.{index}" for index in range(_VIT_LAYERS)):
        yield from norm(f"{block}.norm1")
        yield from norm(f"{block}.norm2")
        for name, out, into in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            yield matrix(f"{block}.{name}.weight", out, into, scale=into**-0.5)
            yield vector(f"{block}.{name}.bias", out)
    yield from norm("norm")
    if clip:
        yield from norm("pos_drop")
        yield matrix("proj", width, _PROJECTION, scale=width**-0.5)


def _lora(draw: Draw, name: str, folder: Path, extractors: int) -> None:
    folder.mkdir()
    state: State = {}
    for index in range(extractors):
        for layer in range(_VIT_LAYERS):
            key = f"base_model.model.extractor_list.{index}.model.blocks.{layer}.attn.qkv"
            down = draw.tensor(f"{name} {key}.A", _RANK, _VIT_WIDTH, scale=_VIT_WIDTH**-0.5)
            state[f"{key}.lora_A.weight"] = down
            state[f"{key}.lora_B.weight"] = draw.tiled(f"{name} {key}.B", 3 * _VIT_WIDTH, _RANK, scale=0.2).contiguous()
    config = {
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 0.5,
        "lora_dropout": 0.3,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": _RANK,
        "target_modules": ["qkv"],
        "task_type": None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(state, folder / "adapter_model.bin")


def dreamsim(draw: Draw, folder: Path) -> None:
    """A cache_dir of the dreamsim package that holds the types ensemble, dino_vitb16, clip_vitb32, open_clip_vitb32."""
    (folder / "checkpoints").mkdir(parents=True)
    hub = folder / "facebookresearch_dino_main"
    hub.mkdir()
    (hub / "hubconf.py").write_text(_HUBCONF, encoding="utf-8")
    torch.save(dict(_vit(draw, "dino", 16, clip=False)), folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
    # the package reads a head that its feature never passes
    head = {f"module.head.mlp.{index}.{kind}": torch.zeros(1) for index in (0, 2, 4) for kind in ("weight", "bias")}
    torch.save(
        {"student": {**head, "module.head.last_layer.weight": torch.zeros(1)}}, folder / "dino_vitb16_pretrain.pth"
    )
    for family in ("clip", "open_clip"):
        for patch in (16, 32):
            name = f"{family}_vitb{patch}"
            torch.save({"state_dict": dict(_vit(draw, name, patch, clip=True))}, folder / f"{name}_pretrain.pth.tar")
    _lora(draw, "ensemble", folder / "ensemble_lora", extractors=3)
    for name in ("dino_vitb16", "clip_vitb32", "open_clip_vitb32"):
        _lora(draw, name, folder / f"{name}_single_lora", extractors=1)
