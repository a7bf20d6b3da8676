"""Tuned networks in the forms people publish: network folder, pipeline folder, one safetensors file, LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import MissingError
from bench.models.adapters.base_weights import base_places, unchanged
from bench.models.adapters.keys import NETWORK
from bench.models.base import Network
from bench.models.checkpoint_folders import config_of, find_checkpoint, of_another_model
from bench.models.families import TITLES, family_of_config, family_of_keys, part_of
from bench.models.loading import check_config, first_few, quiet, read_safetensors, short
from bench.models.lora import AdapterOptions, is_lora, load_lora
from bench.models.parts import load_part
from bench.models.recognise import quantised, what_keys, what_unreadable
from bench.models.single_file import NETWORK_PREFIX, network_tensors
from bench.models.weight_files import weight_files

_EMBEDDED = "time_embedding.cond_proj.weight"
"""What a UNet with embedded guidance (a latent consistency model) has beside the others."""


def load_tuned(
    path: Path, base: Any, dtype: torch.dtype, adapter: str, options: AdapterOptions | None = None
) -> Network:
    """Load the checkpoint at `path` (a local file or folder) for the network `base`.

    A LoRA is added to `base` itself under the name `adapter`, so no second copy of the weights is made; it is left
    switched off. A folder that tunes text encoders alone gives the base network. Raises MissingError if nothing
    loadable is there, if a file is damaged, or if it is of another model.
    Whatever happens, the base network is what it was, to the bit: that is checked.
    """
    options = options or AdapterOptions()
    with unchanged({NETWORK: base, **options.encoders}):
        return _load(path, base, dtype, adapter, options)


def _load(path: Path, base: Any, dtype: torch.dtype, adapter: str, options: AdapterOptions) -> Network:
    scale = options.scale
    found: Path | None = path
    if path.is_dir():
        found = find_checkpoint(path, base)
    elif not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist: give a folder or a .safetensors file")
    if found is None:
        network = Network(base)
    elif found.is_dir():
        network = _load_folder(found, base, dtype)
    else:
        loaded = _load_file(found, base, dtype, adapter, options)
        if loaded.adapter is not None or loaded.text_adapter is not None:
            return loaded
        network = loaded
    if scale != 1.0:
        raise MissingError(f"{path} contains full weights, not a LoRA, so that lora_scale {scale:g} has no effect")
    return network


def _load_folder(folder: Path, base: Any, dtype: torch.dtype) -> Network:
    """A network's folder: as diffusers saves it, or shards and files as accelerate does, with or without config.json.

    Without a configuration it is the base network's.
    """
    config = check_config(folder) if (folder / "config.json").is_file() else None
    if config is not None:
        own = family_of_config(config_of(base))
        found = family_of_config(config) if "_class_name" in config or "architectures" in config else own
        if found != own:
            raise of_another_model(folder, config, base)
    weights = weight_files(folder)
    indexed = len(weights.files) == 1 or any(folder.glob("*.safetensors.index*.json"))
    if not weights.files or (config is not None and weights.stem == "diffusion_pytorch_model" and indexed):
        module = load_part(type(base), folder, dtype)
        if integers := weights.integers() & _shapes(base).keys():
            raise _not_real(folder, min(integers))
        _compare(folder, module.state_dict(), base)
        return Network(module)
    if not weights.stem and len(weights.files) > 1:
        names = first_few(file.name for file in weights.files)
        raise MissingError(f"{folder} contains several checkpoints ({names}): give the path of one of them")
    tensors: dict[str, Tensor] = {}
    for file in weights.files:
        tensors |= read_safetensors(file)
    return _network_of(folder, tensors, base, dtype, config)


def _load_file(path: Path, base: Any, dtype: torch.dtype, adapter: str, options: AdapterOptions) -> Network:
    """A LoRA, or a whole network as one safetensors file, in diffusers' or the original key names."""
    if path.suffix != ".safetensors":
        what = what_unreadable(path) or "not a .safetensors file: other formats are not read"
        raise MissingError(f"checkpoint {path} is {what}")
    tensors = read_safetensors(path)
    if not tensors:
        raise MissingError(f"{path} contains no tensors: nothing was saved into it")
    scaled_network = quantised(tensors) and not any(
        "lora" in key for key in tensors
    )  # its scales look like an adapter's
    if is_lora(tensors) and not scaled_network:
        return load_lora(path, tensors, base, adapter, options)
    return _network_of(path, tensors, base, dtype)


def _network_of(
    path: Path, tensors: dict[str, Tensor], base: Any, dtype: torch.dtype, config: Mapping[str, Any] | None = None
) -> Network:
    """A network of these tensors, by its own configuration or else the base's."""
    from accelerate import init_empty_weights

    own, found = family_of_config(config_of(base)), family_of_keys(tensors)
    if own and found and own != found:
        raise MissingError(
            f"{path} is a checkpoint of another model than the suite's: of {TITLES[found]}, not of {TITLES[own]}"
        )
    if how := quantised(tensors):
        raise MissingError(
            f"{path} contains {how}, which are not supported: use the file in bfloat16, float16 or float32"
        )
    tensors = _in_our_layout(path, tensors, base)
    _compare(path, tensors, base)
    settings = dict(config or base.config)
    if part_of(base) == "unet":
        settings["time_cond_proj_dim"] = tensors[_EMBEDDED].shape[1] if _EMBEDDED in tensors else None
    with quiet(), init_empty_weights(include_buffers=False):  # buffers that no file holds are computed
        module = type(base).from_config(settings)
    module.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    with quiet():  # diffusers warns of any cast
        module.to(dtype)
    return Network(module.eval().requires_grad_(False))


def _in_our_layout(path: Path, tensors: dict[str, Tensor], base: Any) -> dict[str, Tensor]:
    """The tensors under diffusers' key names, converted by diffusers itself if they are in the original layout."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES as CONVERTERS

    expected = _shapes(base).keys()
    given, tensors = tensors, network_tensors(tensors, expected, part_of(base))
    # The original layout of Z-Image has many of diffusers' names; what it has joined is what tells.
    joined = any(key.endswith(".attention.qkv.weight") for key in tensors)
    if (expected & tensors.keys() and not joined) or type(base).__name__ not in CONVERTERS:
        return tensors
    original = any(key.startswith(NETWORK_PREFIX) for key in tensors)
    what = None if original else what_keys(tensors or given)
    if what and not what.startswith("a network"):
        raise MissingError(f"{path} is {what}, but the suite's model needs a {type(base).__name__}")
    if part_of(base) == "unet" and not original:
        tensors = {f"{NETWORK_PREFIX}{key}": value for key, value in tensors.items()}
    convert = CONVERTERS[type(base).__name__]["checkpoint_mapping_fn"]
    try:
        with quiet():
            found: dict[str, Tensor] = convert(checkpoint=dict(tensors), config=dict(base.config))
    except Exception as error:  # a layout that diffusers does not know ends in whatever its code meets first
        raise MissingError(
            f"{path} is in a layout that diffusers cannot convert to a {type(base).__name__} ({short(error)}): it has "
            f"{first_few(given)}"
        ) from error
    return found or tensors


def _shapes(base: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the base network, adapters in it aside."""
    return {name: tuple(index.value.shape) for name, index in base_places(base).items()}


def _compare(path: Path, tensors: Mapping[str, Tensor], base: Any) -> None:
    """MissingError unless keys and shapes are those of the base network."""
    expected = {key: shape for key, shape in _shapes(base).items() if key != _EMBEDDED}
    tensors = {key: value for key, value in tensors.items() if key != _EMBEDDED}
    absent = expected.keys() - tensors.keys()
    extra = tensors.keys() - expected.keys()
    other = [key for key, shape in expected.items() if key in tensors and tuple(tensors[key].shape) != shape]
    if not (absent or extra or other):
        _check_values(path, tensors)
        return
    if not expected.keys() & tensors.keys() and (what := what_keys(tensors)):
        own = TITLES.get(family_of_config(config_of(base)) or "", "")
        if what == f"a network of {own}":
            raise MissingError(f"{path} is {what} under keys that are not known: {first_few(tensors)}")
        raise MissingError(f"{path} is {what}, but the suite's model needs a {type(base).__name__}")
    if absent:
        wrong = f"it lacks {first_few(absent)}"
    elif extra:
        wrong = f"it has unknown keys {first_few(extra)}"
    else:
        key = min(other)
        wrong = f"other shapes for {first_few(other)} ({key}: {tuple(tensors[key].shape)}, expected {expected[key]})"
    raise MissingError(f"{path} is a checkpoint of another model than the suite's: {wrong}")


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """MissingError for weights that are integers, or no numbers at all: images of them would be noise or black."""
    for key, value in tensors.items():
        if not value.is_floating_point():
            raise _not_real(path, key)
        if not bool((value if value.itemsize > 1 else value.float()).isfinite().all()):
            raise MissingError(
                f"{path} contains NaN or infinite values ({key}): its training diverged or the file is damaged; take "
                "another checkpoint"
            )


def _not_real(path: Path, key: str) -> MissingError:
    return MissingError(
        f"{path} contains integers ({key}), where a network has real numbers: quantised weights are not supported; use "
        "the file in bfloat16, float16 or float32"
    )
