"""A LoRA in training: its first values, what it is (rank, strength, layers) and how it is written.

It is written twice with the same values: in PEFT's form (`adapter_model.safetensors` with `adapter_config.json`, what
`bench run` reads, whatever the family) and as `pytorch_lora_weights.safetensors`, what diffusers' `load_lora_weights`
reads. Both settings are taken from the layers that learnt, never from the recipe: an adapter that a training started
from keeps its own ranks and strengths.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.models.families import part_of
from bench.models.loading import quiet
from bench.models.peft_files import LORA_FILES, PEFT_CONFIG, PEFT_FILE, PEFT_PREFIX
from bench.training.recipes import LORA_TARGETS, TrainRecipe

LORA_SEED = 0
HOLDER = "adapter_patches"
"""Submodule in which the loader holds what adapters replace whole."""
DIFFUSERS_SETTINGS = "lora_adapter_metadata"
"""Key of the header of a safetensors file under which diffusers keeps the settings of a LoRA."""


def new_lora(module: Any, recipe: TrainRecipe) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The first values of a LoRA for `module` by PEFT's key names, and its settings.

    A is normal with deviation 1 / rank from a fixed seed and B is zero, as in PEFT: it changes nothing yet. Raises
    UsageError if no layer is a target.
    """
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    config = LoraConfig(r=recipe.lora_rank, target_modules=list(recipe.lora_targets))
    with quiet(), torch.device("meta"):
        skeleton = type(module).from_config(module.config)
        try:
            shapes = get_peft_model_state_dict(inject_adapter_in_model(config, skeleton))
        except ValueError:  # PEFT found no target
            layers = sorted({name.rpartition(".")[2] for name, part in module.named_modules() if _is_linear(part)})
            raise UsageError(
                f"lora_targets {','.join(recipe.lora_targets)} match no layer of the {type(module).__name__}: "
                f"the names of its linear layers end in {', '.join(layers[:12])}"
            ) from None
    generator = torch.Generator().manual_seed(LORA_SEED)
    state = {
        key: torch.randn(value.shape, generator=generator) / recipe.lora_rank
        if "lora_A" in key
        else torch.zeros(value.shape)
        for key, value in sorted(shapes.items())
    }
    settings = {
        "peft_type": "LORA",
        "r": recipe.lora_rank,
        "lora_alpha": recipe.lora_alpha or recipe.lora_rank,
        "target_modules": sorted(recipe.lora_targets),
        "bias": "none",
        "lora_dropout": 0.0,
    }
    return state, settings


def lora_state(module: Any, adapter: str) -> dict[str, Tensor]:
    """The adapter's values by PEFT's key names, with the whole modules that it replaces (`modules_to_save`)."""
    from peft import get_peft_model_state_dict

    state: dict[str, Tensor] = get_peft_model_state_dict(module, adapter_name=adapter)
    values = replaced(module, adapter)
    owners = {name.rpartition(".")[0] for name in values}
    for name, value in module.named_parameters():
        # Whole modules, and all whose names end so: PEFT takes the names of modules_to_save for endings.
        if any(f".{name.rpartition('.')[0]}".endswith(f".{owner}") for owner in owners):
            state.setdefault(name, value)
    return state | values


def replaced(module: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """The network's own parameters that an adapter replaces whole, by their names in the network.

    The loader holds them beside the network's and exchanges them at the switch.
    """
    held: Any = module._modules.get(HOLDER)
    found: dict[str, nn.Parameter] = {} if held is None else held.values(adapter)
    return found


def lora_settings(module: nn.Module, adapter: str) -> dict[str, Any]:
    """PEFT's settings of an adapter as its layers have them, by PEFT's names.

    A layer acts with `scaling`, which may have come from alpha / r, alpha / sqrt(r) (rslora), a pattern or a file's own
    alpha: what is written is the alpha that gives this scaling with the rank of the layer.
    """
    layers = dict(_layers(module, adapter))
    names = {name for name, _ in module.named_modules()}
    ranks = {name: int(layer.r[adapter]) for name, layer in layers.items()}
    alphas = {name: _plain(layer.scaling[adapter] * layer.r[adapter]) for name, layer in layers.items()}
    rank, alpha = (_most_common(values) for values in (ranks.values(), alphas.values()))
    settings: dict[str, Any] = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {_exactly(name): one for name, one in sorted(ranks.items()) if one != rank},
        "alpha_pattern": {_exactly(name): one for name, one in sorted(alphas.items()) if one != alpha},
        "target_modules": _targets(layers, names),
        "bias": "none",
        "lora_dropout": 0.0,
    }
    if any(layer.use_dora.get(adapter, False) for layer in layers.values()):
        settings["use_dora"] = True
    if any(getattr(layer, "lora_bias", {}).get(adapter, False) for layer in layers.values()):
        settings["lora_bias"] = True
    owners = {name.rpartition(".")[0] for name in replaced(module, adapter)} | set(_wrapped(module, adapter))
    if whole := sorted(owners - layers.keys()):
        settings["modules_to_save"] = whole
    return settings


def check_start(path: Path, module: nn.Module, adapter: str, recipe: TrainRecipe) -> None:
    """UsageError if the recipe wants another LoRA than the one in `path` that the training starts from."""
    if not any(_layers(module, adapter)) or any(_of_other_kinds(module, adapter)):
        raise UsageError(
            f"{path} is an adapter of another kind than LoRA, which `bench train` cannot continue: merge it into a "
            "full checkpoint, or start from the base model"
        )
    found = lora_settings(module, adapter)
    if not recipe.lora_rank:
        raise UsageError(
            f"{path} is a LoRA of rank {found['r']}: pass --lora-rank {found['r']} to continue training it"
        )
    ranks = {found["r"], *found["rank_pattern"].values()}
    if recipe.lora_rank not in ranks:
        raise UsageError(
            f"{path} is a LoRA of rank {found['r']}, which continues with its own rank, not {recipe.lora_rank}: "
            f"give --lora-rank {found['r']}, or start from the base model"
        )
    alphas = {found["lora_alpha"], *found["alpha_pattern"].values()}
    if recipe.lora_alpha and recipe.lora_alpha not in alphas:
        raise UsageError(
            f"{path} is a LoRA of alpha {found['lora_alpha']}, which continues with its own alpha, not "
            f"{recipe.lora_alpha:g}: omit --set lora_alpha, or start from the base model"
        )
    layers = [name for name, _ in _layers(module, adapter)]
    if recipe.lora_targets != LORA_TARGETS and not all(
        any(f".{name}".endswith(f".{target}") for target in recipe.lora_targets) for name in layers
    ):
        raise UsageError(
            f"{path} is a LoRA of other layers than lora_targets={','.join(recipe.lora_targets)} ({layers[0]}, ...): "
            "omit --set lora_targets, or start from the base model"
        )


def write_lora(folder: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any], part: str | None = None) -> None:
    """Write a LoRA in PEFT's form, and for `part` ("unet", "transformer") in diffusers' as well."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    peft = {f"{PEFT_PREFIX}{key}": value for key, value in tensors.items()}
    save_file(peft, folder / PEFT_FILE, metadata={"format": "pt"})
    (folder / PEFT_CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if part is None:
        return
    named = {f"{part}.{key}": value for key, value in settings.items()}
    # One key in the header: safetensors writes several in an order of chance, and the digest names a run.
    header = {DIFFUSERS_SETTINGS: json.dumps(named, sort_keys=True)}
    save_file({f"{part}.{key}": value for key, value in tensors.items()}, folder / LORA_FILES[0], metadata=header)


def write_adapter(folder: Path, module: Any, adapter: str) -> None:
    """Write the adapter of a network in both forms."""
    write_lora(folder, lora_state(module, adapter), lora_settings(module, adapter), part_of(module))


def _layers(module: nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    """The layers that the adapter changes, by the name that they have without it."""
    from peft.tuners.lora import LoraLayer

    for name, part in module.named_modules():
        if isinstance(part, LoraLayer) and adapter in part.r:
            yield name, part


def _of_other_kinds(module: nn.Module, adapter: str) -> Iterator[str]:
    """The layers that the adapter changes in another way than a LoRA does (LoHa, LoKr, OFT)."""
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, part in module.named_modules():
        if not isinstance(part, BaseTunerLayer) or isinstance(part, LoraLayer):
            continue
        if any(adapter in getattr(part, held, ()) for held in part.adapter_layer_names):
            yield name


def _wrapped(module: nn.Module, adapter: str) -> Iterator[str]:
    """Modules of which the adapter has a whole copy of its own, as PEFT itself loads them."""
    from peft.utils.other import ModulesToSaveWrapper

    for name, part in module.named_modules():
        if isinstance(part, ModulesToSaveWrapper) and adapter in part.modules_to_save:
            yield name


def _targets(layers: Collection[str], names: Collection[str]) -> list[str] | str:
    """The layers as `target_modules`: PEFT matches the ends of names, so a name that is the end of another is a regex.

    FLUX has a layer `proj_out` and many `single_transformer_blocks.N.proj_out`.
    """
    others = {name for name in names if name not in layers and ".lora_" not in name}
    if any(other.endswith(f".{name}") for name in layers for other in others):
        return "|".join(re.escape(name) for name in sorted(layers))
    return sorted(layers)


def _exactly(name: str) -> str:
    """A layer's name as a key of a pattern, which PEFT reads as the end of a regular expression."""
    return f"^{re.escape(name)}"


def _most_common(values: Collection[Any]) -> Any:
    """The value that most layers have; of several the smallest, so that the file does not depend on an order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _plain(value: float) -> int | float:
    """4.000000000000001 and 4.0 as 4: scaling x rank, freed from the rounding of the division before."""
    near = round(value, 9)
    return int(near) if near == int(near) else near


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear)
