"""LoRA checkpoints in diffusers', kohya's and PEFT's layouts, added to the base network itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import MissingError
from bench.models.base import Network
from bench.models.families import TITLES, family_of_config, family_of_keys, part_of
from bench.models.loading import check_config, first_few, quiet, read_header, read_safetensors, short
from bench.models.peft_files import PEFT_CONFIG, PEFT_PREFIX, config_beside, in_peft_layout
from bench.runtime.log import note

_MARKS = ("lora_A", "lora_B", "lora_down", "lora_up", ".lora.", "dora_scale")
_TEXT = ("text_encoder.", "text_encoder_2.", "text_encoder_3.")
# The class of diffusers whose `lora_state_dict` knows a family's layouts. PixArt has none: diffusers' and PEFT's only.
_LAYOUTS = {
    "sd": "StableDiffusionLoraLoaderMixin",
    "sdxl": "StableDiffusionXLLoraLoaderMixin",
    "sd3": "SD3LoraLoaderMixin",
    "flux": "FluxLoraLoaderMixin",
}

_SETTINGS = (
    "r",
    "lora_alpha",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
    "lora_bias",
)


def is_lora(keys: Iterable[str]) -> bool:
    """Whether these are the tensors of a LoRA."""
    return any(mark in key for key in keys for mark in _MARKS)


def load_lora(path: Path, base: Any, dtype: torch.dtype, adapter: str, scale: float = 1.0) -> Network:
    """Add the LoRA in `path` to the network `base` under the name `adapter`; it is left switched on.

    `scale` multiplies the LoRA's own alpha / rank. Raises MissingError: damaged, of another family, names layers or
    shapes that the network has not, or tunes what is not the network (a text encoder).
    """
    part = part_of(base)
    try:
        with quiet():
            tensors, alphas = _in_our_layout(path, base, part)
            _check_layers(path, tensors, base)
            metadata = None if alphas else _settings(path, part)
            base.load_lora_adapter(tensors, prefix=part, adapter_name=adapter, network_alphas=alphas, metadata=metadata)
            _check_loaded(path, tensors, base, adapter)
    except MissingError:
        raise
    except Exception as error:  # peft and diffusers fail in many ways on a LoRA that does not fit
        raise MissingError(f"{path} does not fit the suite's model as a LoRA ({short(error)}).") from error
    if adapter not in getattr(base, "peft_config", {}):
        raise MissingError(f"{path} matches no layer of the suite's model: take a LoRA that was trained on it.")
    _finish(base, dtype, adapter, scale)
    return Network(base, adapter)


def _in_our_layout(path: Path, base: Any, part: str) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors with diffusers' key names ("unet.<layer>.lora_A.weight"), and alphas where the file has them."""
    from diffusers import loaders
    from diffusers.loaders import lora_pipeline
    from diffusers.utils import convert_unet_state_dict_to_peft

    tensors = read_safetensors(path)
    if any("dora_scale" in key for key in tensors):
        raise MissingError(f"{path} is a DoRA, whose magnitudes diffusers drops: merge it into a full checkpoint.")
    family = family_of_config({**base.config, "_class_name": type(base).__name__})
    alphas: dict[str, Any] | None = None
    if any(key.startswith(PEFT_PREFIX) for key in tensors):
        tensors = {f"{part}.{key.removeprefix(PEFT_PREFIX)}": value for key, value in tensors.items()}
    elif family in _LAYOUTS:
        name = _LAYOUTS[family]
        mixin = getattr(loaders, name, None) or getattr(lora_pipeline, name)
        options: dict[str, Any] = {"unet_config": base.config} if part == "unet" else {}
        if family == "flux":
            options["return_alphas"] = True
        found = mixin.lora_state_dict(dict(tensors), **options)
        tensors, alphas = found if isinstance(found, tuple) else (found, None)
    text = [key for key in tensors if key.startswith(_TEXT)]
    if text:
        raise MissingError(
            f"{path} tunes a text encoder too ({first_few(text, 1)}), which is not supported: save the LoRA of the "
            f"{part} alone."
        )
    if not any("lora_A" in key for key in tensors):
        tensors = convert_unet_state_dict_to_peft(tensors)
    if not any(key.startswith(f"{part}.") for key in tensors):
        other = "unet." if part == "transformer" else "transformer."
        if any(key.startswith(other) for key in tensors):
            raise MissingError(f"{path} is a LoRA for a {other[:-1]}, but the suite's model has a {part}.")
        tensors = {f"{part}.{key}": value for key, value in tensors.items()}
    return tensors, alphas


def _check_layers(path: Path, tensors: Mapping[str, Tensor], base: Any) -> None:
    """MissingError unless every layer that the LoRA names is one of the network's, and of its size."""
    layers = {name.replace(".base_layer", ""): module for name, module in base.named_modules()}
    named = {_layer_of(key) for key in tensors if ".lora" in key}
    strange = named - layers.keys()
    if not named:
        raise MissingError(f"{path} has no LoRA layer for the network.")
    if strange:
        family = family_of_keys(f"{name}." for name in named)
        guess = f" (it looks like one of {TITLES[family]})" if family and not named - strange else ""
        count = "matches no layer of the suite's model: it" if not named - strange else "does not fit: it"
        raise MissingError(f"{path} {count} names layers that the suite's model has not: {first_few(strange)}{guess}.")
    absent = _absent_halves(tensors)
    if absent:
        raise MissingError(f"{path} is an incomplete LoRA: it lacks {first_few(absent)}; get the file again.")
    wrong = {}
    for key, value in tensors.items():
        weight = getattr(layers[_layer_of(key)], "weight", None) if ".lora" in key else None
        axis = 1 if "lora_A" in key else 0
        if weight is not None and key.endswith(".weight") and value.shape[axis] != weight.shape[axis]:
            wrong[key] = f"{tuple(value.shape)} for a layer of {tuple(weight.shape)}"
    if wrong:
        example = wrong[min(wrong)]
        raise MissingError(
            f"{path} is a LoRA of another model than the suite's: other shapes for {first_few(wrong)} ({example})."
        )


def _absent_halves(tensors: Mapping[str, Tensor]) -> set[str]:
    """Of each layer's two matrices those that are not there: PEFT would begin with random values in their place."""
    stems = {key.rpartition(".lora_")[0] for key in tensors if ".lora_A." in key or ".lora_B." in key}
    return {name for stem in stems for half in "AB" if (name := f"{stem}.lora_{half}.weight") not in tensors}


def _check_loaded(path: Path, tensors: Mapping[str, Tensor], base: Any, adapter: str) -> None:
    """MissingError unless the adapter acts by the file's values, by all of them, and by no others.

    Settings may name more layers than the file has; their second matrix is begun with zeros, which adds nothing.
    """
    from peft import get_peft_model_state_dict

    made = get_peft_model_state_dict(base, adapter_name=adapter)
    given = {key.partition(".")[2].replace(".processor.", ".") for key in tensors if ".lora_" in key}
    others = [key for key, value in made.items() if key not in given and "lora_A" not in key and bool(value.any())]
    wrong = f"it lacks {first_few(others)}" if others else ""
    if dropped := given - made.keys():
        wrong = f"nothing takes its {first_few(dropped)}"
    if wrong:
        base.delete_adapters(adapter)
        raise MissingError(f"{path} does not fit the suite's model as a LoRA: {wrong}.")


def _layer_of(key: str) -> str:
    return key.partition(".")[2].split(".lora")[0].removesuffix(".processor")


def _finish(base: Any, dtype: torch.dtype, adapter: str, scale: float) -> None:
    """The adapter's weights in the network's dtype and frozen, its scale set; the base weights are left alone."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, value in base.named_parameters():
        if "lora_" in name:
            value.data = value.data.to(dtype)
    if scale != 1.0:
        for layer in base.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.set_scale(adapter, scale)
    base.eval().requires_grad_(False)


def _settings(path: Path, part: str) -> dict[str, Any] | None:
    """LoRA settings (rank, alpha, layers) as diffusers' loader wants them, None if the checkpoint says nothing.

    PEFT writes them beside its file (adapter_config.json), diffusers into the header of the file.
    """
    config = config_beside(path)
    if config is not None:
        found = check_config(config.parent, config.name)
        return {f"{part}.{key}": found[key] for key in _SETTINGS if key in found}
    found = json.loads(read_header(path).get("lora_adapter_metadata", "{}"))
    settings = {key: value for key, value in found.items() if key.split(".", 1)[-1] in _SETTINGS}
    if not settings and in_peft_layout(path):
        note(f"{path} has no {PEFT_CONFIG} beside it, which says its alpha: taken as its rank.", once=True)
    return settings or None
