"""Ways in which adapters are written: what each training tool makes of layers, ranks and alphas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.unit.bench.models.adapter_layers import ATTENTION, DIFFUSERS, ORIGINAL, PART, XLABS, Piece
from tests.unit.bench.models.adapter_truth import Layer

Alphas = Mapping[str, float | None]
"""Alpha of each layer by its name in the file; None: not said."""
Write = Callable[[Path, str, Sequence[Layer], Alphas], Path]
_PEFT_TYPES = {"lora": "LORA", "dora": "LORA", "loha": "LOHA", "lokr": "LOKR", "oft": "OFT", "oft_r": "OFT"}


@dataclass(frozen=True)
class Layout:
    """How a tool names layers (`pieces` by family; absent ones have none) and writes them.

    `said`: alpha is always said. `peft`: the factors have PEFT's names.
    """

    name: str
    pieces: Mapping[str, tuple[Piece, ...]]
    write: Write
    said: bool = False
    peft: bool = False


def saved(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path, metadata=dict(metadata or {}))
    return path


def kohya(prefix: str = "lora_unet_", flat: bool = True) -> Write:
    """`prefix` + name with underscores + ".lora_down.weight", with ".alpha" where one is said."""

    def write(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
        tensors = {}
        for layer in layers:
            name = prefix + (layer.piece.name.replace(".", "_") if flat else layer.piece.name)
            tensors |= {f"{name}.{key}": value for key, value in layer.kohya.items()}
            if (alpha := alphas[layer.piece.name]) is not None:
                tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
        return saved(path / "lora.safetensors", tensors)

    return write


def dotted(prefix: str, names: Mapping[str, str] | None = None, alpha: bool = True) -> Write:
    """PEFT's factors behind a prefix (PART is the network's name in diffusers), with ".alpha" where one is said.

    `names` are other endings of the keys.
    """

    def write(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
        tensors = {}
        for layer in layers:
            name = prefix.replace("PART", PART[family]) + layer.piece.name
            for key, value in layer.peft.items():
                tensors[f"{name}.{(names or {}).get(key, key)}"] = value
            if alpha and (said := alphas[layer.piece.name]) is not None:
                tensors[f"{name}.alpha"] = torch.tensor(float(said))
        return saved(path / "lora.safetensors", tensors)

    return write


def processors(prefix: str) -> Write:
    """Attention processors with LoRA layers of their own: "<attention>.processor.to_q_lora.down.weight"."""

    def write(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
        tensors = {}
        for layer in layers:
            attention, _, name = layer.piece.name.removesuffix(".0").rpartition(".")
            stem = f"{prefix.replace('PART', PART[family])}{attention}.processor.{name}_lora"
            tensors[f"{stem}.down.weight"] = layer.peft["lora_A.weight"]
            tensors[f"{stem}.up.weight"] = layer.peft["lora_B.weight"]
        return saved(path / "lora.safetensors", tensors)

    return write


def xlabs(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
    tensors = {}
    for layer in layers:
        tensors[f"{layer.piece.name}.down.weight"] = layer.peft["lora_A.weight"]
        tensors[f"{layer.piece.name}.up.weight"] = layer.peft["lora_B.weight"]
    return saved(path / "lora.safetensors", tensors)


def peft_config(layers: Sequence[Layer], alphas: Alphas, **more: Any) -> dict[str, Any]:
    """What PEFT says beside the file: the first layer's rank and alpha, and patterns for the others."""
    kind, (rank, alpha) = _PEFT_TYPES[layers[0].kind], (layers[0].rank or 4, alphas[layers[0].piece.name])
    ranks = {f"^{layer.piece.name}": layer.rank for layer in layers if layer.rank not in (rank, 0)}
    other = {layer.piece.name: alphas[layer.piece.name] for layer in layers}
    return {
        "peft_type": kind,
        "r": rank,
        "lora_alpha" if kind == "LORA" else "alpha": rank if alpha is None else alpha,
        "rank_pattern": ranks,
        "alpha_pattern": {f"^{name}": value for name, value in other.items() if value is not None and value != alpha},
        "target_modules": [layer.piece.name for layer in layers],
        "init_lora_weights" if kind == "LORA" else "init_weights": True,
        "peft_version": "0.21.2",
        **more,
    }


def peft(prefix: str = "base_model.model.", name: str = "", **more: Any) -> Write:
    """A folder of PEFT; `name` is an adapter's name in the keys."""

    def write(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
        tensors = {}
        for layer in layers:
            for key, value in layer.peft.items():
                stem, _, end = key.partition(".")
                named = f"{stem}.{name}.{end}".rstrip(".") if name else key
                tensors[f"{prefix}{layer.piece.name}.{named}"] = value
        saved(path / "adapter_model.safetensors", tensors)
        (path / "adapter_config.json").write_text(json.dumps(peft_config(layers, alphas, **more)))
        return path

    return write


def header(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
    """diffusers' layout with PEFT's configuration in the file's header."""
    part = PART[family]
    tensors = {f"{part}.{layer.piece.name}.{key}": value for layer in layers for key, value in layer.peft.items()}
    config = {f"{part}.{key}": value for key, value in peft_config(layers, alphas).items() if key != "peft_version"}
    return saved(path / "x.safetensors", tensors, {"format": "pt", "lora_adapter_metadata": json.dumps(config)})


def header_alone(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
    """What diffusers' `save_lora_adapter` of a network writes: no prefix, in the header neither."""
    tensors = {f"{layer.piece.name}.{key}": value for layer in layers for key, value in layer.peft.items()}
    config = json.dumps(peft_config(layers, alphas))
    return saved(path / "pytorch_lora_weights.safetensors", tensors, {"lora_adapter_metadata": config})


def trainer(path: Path, family: str, layers: Sequence[Layer], alphas: Alphas) -> Path:
    """DanceGRPO and FastVideo: one rank and alpha in lora_config.json."""
    tensors = {
        f"{PART[family]}.{layer.piece.name}.{key}": value for layer in layers for key, value in layer.peft.items()
    }
    saved(path / "pytorch_lora_weights.safetensors", tensors)
    facts = {"lora_rank": layers[0].rank, "lora_alpha": alphas[layers[0].piece.name], "target_modules": []}
    (path / "lora_config.json").write_text(json.dumps({"step": 60, "lora_params": facts}))
    return path


_PEFT = "base_model.model."
_LEGACY = {"lora_A.weight": "lora.down.weight", "lora_B.weight": "lora.up.weight"}
_TRANSFORMERS = {family: DIFFUSERS[family] for family in DIFFUSERS if PART[family] == "transformer"}
LAYOUTS = (
    Layout("kohya, diffusers' names", DIFFUSERS, kohya()),
    Layout("kohya, the authors' names", ORIGINAL, kohya()),
    Layout("LyCORIS (lycoris_)", DIFFUSERS, kohya("lycoris_")),
    Layout("LyCORIS, the authors' names", ORIGINAL, kohya("lycoris_")),
    Layout("OneTrainer (lora_transformer_)", _TRANSFORMERS, kohya("lora_transformer_")),
    Layout("ComfyUI (diffusion_model.)", ORIGINAL, dotted("diffusion_model."), peft=True),
    Layout("ComfyUI, diffusers' names", DIFFUSERS, dotted("diffusion_model."), peft=True),
    Layout("diffusers", DIFFUSERS, dotted("PART.", alpha=False), peft=True),
    Layout("diffusers with .alpha", DIFFUSERS, dotted("PART."), peft=True),
    Layout("diffusers before PEFT (lora.down)", DIFFUSERS, dotted("PART.", _LEGACY, alpha=False), peft=True),
    Layout("diffusers, no prefix", DIFFUSERS, dotted("", alpha=False), peft=True),
    Layout("attention processors", ATTENTION, processors("PART."), peft=True),
    Layout("attention processors, no prefix", ATTENTION, processors(""), peft=True),
    Layout("diffusers, settings in the header", DIFFUSERS, header, peft=True, said=True),
    Layout("DanceGRPO, FastVideo (lora_config.json)", DIFFUSERS, trainer, peft=True, said=True),
    Layout("PEFT", DIFFUSERS, peft(), peft=True, said=True),
    Layout("PEFT, name in the keys", DIFFUSERS, peft(name="default"), peft=True, said=True),
    Layout("PEFT, rank-stabilised", DIFFUSERS, peft(use_rslora=True), peft=True, said=True),
    Layout("PEFT behind module.", DIFFUSERS, peft("module.base_model.model."), peft=True, said=True),
    Layout("PEFT behind _orig_mod.module.", DIFFUSERS, peft("_orig_mod.module." + _PEFT), peft=True, said=True),
    Layout("PEFT of a compiled network", DIFFUSERS, peft("base_model.model._orig_mod."), peft=True, said=True),
    Layout("behind unet._orig_mod. or transformer._orig_mod.", DIFFUSERS, dotted("PART._orig_mod."), peft=True),
    Layout("behind model.", DIFFUSERS, dotted("model."), peft=True),
    Layout("behind state_dict.pipe.unet. or the like", DIFFUSERS, dotted("state_dict.pipe.PART."), peft=True),
    Layout("diffusers, save_lora_adapter (header)", DIFFUSERS, header_alone, peft=True, said=True),
    Layout("XLabs", {"flux": XLABS}, xlabs, peft=True),
)  # fmt: skip
BARE = frozenset({
    "diffusers", "diffusers before PEFT (lora.down)", "diffusers, no prefix", "attention processors",
    "attention processors, no prefix", "XLabs",
})  # fmt: skip
"""Layouts that have no place for alpha."""


def scale_of(layout: Layout, layers: Sequence[Layer], layer: Layer, alpha: float | None) -> float:
    """What multiplies the layer's product: alpha / rank, 1 where alpha is not said or there is no rank.

    PEFT has a rank for every layer: that of the whole adapter where the layer has none of its own.
    """
    rank = layer.rank or ((layers[0].rank or 4) if layout.name.startswith("PEFT") else 0)
    if alpha is None or not rank:
        return 1.0
    return alpha / (math.sqrt(rank) if layout.name == "PEFT, rank-stabilised" else rank)
