"""Tuned networks in the forms people publish: UNet folder, pipeline folder, one safetensors file, LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import MissingError
from bench.models.base import Network
from bench.models.loading import check_config, first_few, load_part, quiet, read_safetensors

NETWORK_FOLDERS = ("fine_tuned_unet", "unet")
"""Subfolders of a pipeline that hold its tuned network, the better first (ControlGenAI/ImageReFL_* has both)."""
LORA_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
PEFT_PREFIX = "base_model.model."
LORA_MARKS = ("lora_A", "lora_B", "lora_down", "lora_up", ".lora.")


def load_tuned(path: Path, base: Any, dtype: torch.dtype, adapter: str) -> Network:
    """Load the checkpoint at `path` (a local file or folder) for the network `base`.

    A LoRA is added to `base` itself under the name `adapter`, so no second copy of the weights is made; it is left
    switched on. Raises MissingError if nothing loadable is there, if a file is damaged, or if it is of another model.
    """
    if path.is_dir():
        for name in LORA_FILES:
            if (path / name).is_file():
                return _load_lora(path / name, base, dtype, adapter)
        for name in NETWORK_FOLDERS:
            if (path / name).is_dir():
                return _load_folder(path / name, base, dtype)
        return _load_folder(path, base, dtype)
    if not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist: give a folder or a .safetensors file.")
    if path.suffix != ".safetensors":
        raise MissingError(f"checkpoint {path} is not a .safetensors file: other formats are not read.")
    tensors = read_safetensors(path)
    if any(mark in key for key in tensors for mark in LORA_MARKS):
        return _load_lora(path, base, dtype, adapter)
    return _load_file(path, tensors, base, dtype)


def _load_folder(folder: Path, base: Any, dtype: torch.dtype) -> Network:
    config = check_config(folder)
    expected = type(base).__name__
    found = config.get("_class_name", expected)
    if found != expected:
        raise MissingError(f"{folder} holds a {found}, but the suite's model needs a {expected}: take another.")
    module = load_part(type(base), folder, dtype)
    _compare(folder, module.state_dict(), base)
    return Network(module)


def _load_file(path: Path, tensors: dict[str, Tensor], base: Any, dtype: torch.dtype) -> Network:
    """A whole network as one safetensors file with diffusers' own key names."""
    _compare(path, tensors, base)
    with quiet(), torch.device("meta"):
        module = type(base).from_config(base.config)
    module.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    return Network(module.eval().requires_grad_(False))


def _compare(path: Path, tensors: Mapping[str, Tensor], base: Any) -> None:
    """MissingError unless keys and shapes are those of the base network, LoRA layers in it aside."""
    expected = {
        key.replace(".base_layer.", "."): tuple(value.shape)
        for key, value in base.state_dict().items()
        if "lora_" not in key
    }
    absent = expected.keys() - tensors.keys()
    extra = tensors.keys() - expected.keys()
    other = [key for key, shape in expected.items() if key in tensors and tuple(tensors[key].shape) != shape]
    if not (absent or extra or other):
        return
    if absent:
        wrong = f"it lacks {first_few(absent)}"
    elif extra:
        wrong = f"it has unknown keys {first_few(extra)}"
    else:
        key = min(other)
        wrong = f"other shapes for {first_few(other)} ({key}: {tuple(tensors[key].shape)}, expected {expected[key]})"
    raise MissingError(f"{path} is a checkpoint of another model than the suite's: {wrong}.")


def _load_lora(path: Path, base: Any, dtype: torch.dtype, adapter: str) -> Network:
    """Add a LoRA in diffusers', kohya's or PEFT's key names to the base network."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    tensors = read_safetensors(path)
    if any(key.startswith(PEFT_PREFIX) for key in tensors):
        tensors = {f"unet.{key.removeprefix(PEFT_PREFIX)}": value for key, value in tensors.items()}
    try:
        with quiet():
            tensors, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(tensors, unet_config=base.config)
            if not any(key.startswith("unet.") for key in tensors):
                tensors = {f"unet.{key}": value for key, value in tensors.items()}
            _check_layers(path, tensors, base)
            metadata = _peft_alpha(path)
            base.load_lora_adapter(
                tensors, prefix="unet", adapter_name=adapter, network_alphas=alphas, metadata=metadata
            )
    except MissingError:
        raise
    except Exception as error:  # peft and diffusers fail in many ways on a LoRA that does not fit
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise MissingError(f"{path} does not fit the suite's model as a LoRA ({reason}).") from error
    if adapter not in getattr(base, "peft_config", {}):
        raise MissingError(f"{path} matches no layer of the suite's model: take a LoRA that was trained on it.")
    base.to(dtype).eval().requires_grad_(False)
    return Network(base, adapter)


def _check_layers(path: Path, tensors: Mapping[str, Tensor], base: Any) -> None:
    """MissingError unless every layer that the LoRA names is one of the network's."""
    layers = {name.replace(".base_layer", "") for name, _ in base.named_modules()}
    named = {
        key.removeprefix("unet.").split(".lora")[0].removesuffix(".processor")
        for key in tensors
        if key.startswith("unet.") and ".lora" in key
    }
    strange = {name for name in named if name not in layers and not name.endswith(("to_q", "to_k", "to_v", "to_out"))}
    if not named:
        raise MissingError(f"{path} has no LoRA layer for the network.")
    if strange:
        raise MissingError(f"{path} names layers that the suite's model has not: {first_few(strange)}.")


def _peft_alpha(path: Path) -> dict[str, Any] | None:
    """LoRA settings beside a PEFT file (adapter_config.json), as diffusers' loader wants them."""
    if not (path.parent / "adapter_config.json").is_file() or path.name != "adapter_model.safetensors":
        return None
    config = check_config(path.parent, "adapter_config.json")
    wanted = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "use_dora", "lora_bias")
    return {f"unet.{key}": config[key] for key in wanted if key in config}
