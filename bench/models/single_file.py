"""One safetensors file that holds more than a network: which part each of its tensors belongs to.

Original Stable Diffusion files hold UNet, text encoders and autoencoder under names of their own; other tools write all
parts of a pipeline into one file. Conversions of names are diffusers' own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError
from bench.models.adapters.keys import is_adapter as is_lora
from bench.models.loading import check_config, first_few, quiet, short

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CLIP_G = "text_encoders.clip_g.transformer."
_T5 = "text_encoders.t5xxl.transformer."
_OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
_PREFIXES: dict[str, tuple[str, ...]] = {
    "text_encoder": (
        "cond_stage_model.transformer.",
        "cond_stage_model.model.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
        "text_encoder.",
    ),
    "text_encoder_2": ("conditioner.embedders.1.model.", _CLIP_G, _T5, "text_encoder_2."),
    "text_encoder_3": (_T5, "text_encoder_3."),
    "vae": ("first_stage_model.", "vae."),
}
"""What stands before the keys of each part: original layouts first, then diffusers' names of the parts."""
NETWORK_PREFIX = "model.diffusion_model."
"""What stands before the network's keys in original files."""
_WRAPPERS = (
    "module.",
    "_orig_mod.",
    "unet.",
    "transformer.",
    "model.",
    "base_model.",
    "diffusion_model.",
    "state_dict.",
    "denoiser.",
    "ema.",
)
"""What training code leaves before every key of a checkpoint that it dumps, in any order and nesting."""


@dataclass(frozen=True, slots=True)
class FileParts:
    """The parts beside the network that a file holds: part -> prefix of its keys."""

    path: Path
    parts: Mapping[str, str]
    base_folder: Path

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A part's tensors under diffusers' and transformers' names. Raises MissingError for what cannot be read."""
        prefix = self.parts[name]
        own = _read(self.path, prefix)
        config = check_config(self.base_folder / name)
        try:
            with quiet():
                return _converted(name, prefix, own, config)
        except Exception as error:  # a layout that diffusers does not know ends in whatever its code meets first
            raise MissingError(
                f"{self.path} holds a {name} ({first_few(own, 1)}) in a layout that diffusers cannot convert "
                f"({short(error)}): save the network alone"
            ) from error


def parts_of_file(path: Path, names: Iterable[str], base_folder: Path) -> FileParts:
    """Which of the parts a safetensors file holds; none for a file that is damaged, which loading tells of.

    What a LoRA holds for a text encoder is no part.
    """
    keys = keys_of(path)
    if is_lora(keys):
        return FileParts(path, {}, base_folder)
    found: dict[str, str] = {}
    for name in names:
        prefix = next((one for one in _PREFIXES.get(name, ()) if any(key.startswith(one) for key in keys)), None)
        if prefix is not None and prefix not in found.values():
            found[name] = prefix
    return FileParts(path, found, base_folder)


def keys_of(path: Path) -> list[str]:
    """Names of a safetensors file's tensors; [] for a file that is none or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as handle:
            return list(handle.keys())
    except (SafetensorError, OSError, ValueError):
        return []


def network_tensors(tensors: Mapping[str, Tensor], expected: Iterable[str], part: str) -> dict[str, Tensor]:
    """Those of a file's tensors that are the network's, without what training code has put before their names.

    `expected` are the network's keys in diffusers' layout. A file in the original layout comes back with the prefix
    that diffusers' conversion takes.
    """
    known = set(expected)
    tensors = dict(tensors)
    other = tuple(prefix for prefixes in _PREFIXES.values() for prefix in prefixes)
    if any(key.startswith(other) for key in tensors) and not known & tensors.keys():
        tensors = {key: value for key, value in tensors.items() if key.startswith((f"{part}.", NETWORK_PREFIX))}
    while not known & tensors.keys():
        wrapper = next(
            (wrapper for wrapper in _WRAPPERS if tensors and all(key.startswith(wrapper) for key in tensors)), None
        )
        wrapper = wrapper or _common_word(tensors)
        if wrapper is None or any(key.startswith(wrapper) for key in known):
            break
        tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
    return tensors


def _common_word(keys: Iterable[str]) -> str | None:
    """What all keys begin with up to their first dot: a wrapper that nobody knows, unless it is the original layout's.

    The keys of no network begin with one word alone.
    """
    found = list(keys)
    words = {key.partition(".")[0] for key in found}
    dotted = all("." in key and not key.startswith(NETWORK_PREFIX) for key in found)
    return f"{words.pop()}." if len(words) == 1 and dotted else None


def build_part(base: Any, tensors: Mapping[str, Tensor], dtype: torch.dtype, where: str) -> Any:
    """A network like `base` with these tensors. Raises MissingError for keys that are missing, unknown, of other shape.

    transformers calls the layers of a CLIP text encoder with and without "text_model." in front: both are taken.
    """
    module = copy.deepcopy(base)
    indices = {canonical(key): key for key in module.state_dict()}
    named = {indices.get(canonical(key), key): value.to(dtype) for key, value in tensors.items()}
    named = {key: value for key, value in named.items() if not key.endswith("position_ids")}
    try:
        result = module.load_state_dict(named, strict=False)
    except RuntimeError as error:
        raise MissingError(f"{where} is of other shapes than the base model's ({short(error)})") from error
    own = module.state_dict()
    given = {own[key].data_ptr() for key in named if key in own}
    absent = [key for key in result.missing_keys if own[key].data_ptr() not in given and "position_ids" not in key]
    if absent or result.unexpected_keys:
        wrong = f"lacks {first_few(absent)}" if absent else f"has unknown keys {first_few(result.unexpected_keys)}"
        raise MissingError(f"{where} is not like the base model's: it {wrong}")
    with quiet():  # diffusers warns of any cast
        module.to(dtype)
    return module.eval().requires_grad_(False)


_RENAMED = (("text_model.", ""), ("model.language_model.", "model."), ("model.visual.", "visual."))
"""How transformers' CLIP and Qwen2.5-VL call their layers -> how they did before, which their files keep."""


def canonical(key: str) -> str:
    """The name of a text encoder's tensor whichever version of transformers saved it."""
    for now, before in _RENAMED:
        key = key.replace(now, before, 1) if key.startswith(now) else key
    return key


def _read(path: Path, prefix: str) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as handle:
        return {key: handle.get_tensor(key) for key in handle.keys() if key.startswith(prefix)}  # noqa: SIM118


def _converted(name: str, prefix: str, own: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_open_clip_checkpoint

    plain = {key.removeprefix(prefix): value for key, value in own.items()}
    if name == "vae":
        original = any(".block." in key for key in plain)
        return dict(convert_ldm_vae_checkpoint(own, config)) if original else plain
    if prefix in _OPEN_CLIP:
        shape = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
        found = convert_open_clip_checkpoint(shape, own, prefix=prefix)
        return _known(found, config)
    if prefix == "text_encoders.clip_l.transformer." and "text_projection.weight" not in plain:
        import torch

        plain["text_projection.weight"] = torch.eye(int(config["hidden_size"]))
    return _known(plain, config)


def _known(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without what belongs to CLIP as a whole, and is no part of a text encoder."""
    projects = any("WithProjection" in name for name in config.get("architectures") or ())
    foreign = ("logit_scale",) if projects else ("logit_scale", "text_projection.weight", "text_projection")
    return {key: value for key, value in tensors.items() if key not in foreign}
