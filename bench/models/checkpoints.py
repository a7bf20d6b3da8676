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
from bench.models.families import TITLES, TUNED_FOLDERS, family_of_config, family_of_keys, part_of
from bench.models.loading import check_config, first_few, load_part, quiet, read_safetensors, short
from bench.models.lora import AdapterOptions, is_lora, load_lora
from bench.models.peft_files import LORA_FILES

_WRAPPERS = ("module.", "_orig_mod.", "unet.", "transformer.")
"""What training code leaves before every key of a checkpoint that it dumps."""


def load_tuned(
    path: Path, base: Any, dtype: torch.dtype, adapter: str, options: AdapterOptions | None = None
) -> Network:
    """Load the checkpoint at `path` (a local file or folder) for the network `base`.

    A LoRA is added to `base` itself under the name `adapter`, so no second copy of the weights is made; it is left
    switched off. Raises MissingError if nothing loadable is there, if a file is damaged, or if it is of another model.
    Whatever happens, the base network is what it was, to the bit: that is checked.
    """
    options = options or AdapterOptions()
    with unchanged({NETWORK: base, **options.encoders}):
        return _load(path, base, dtype, adapter, options)


def _load(path: Path, base: Any, dtype: torch.dtype, adapter: str, options: AdapterOptions) -> Network:
    scale = options.scale
    if path.is_dir():
        path = _what_a_folder_holds(path, base)
    elif not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist: give a folder or a .safetensors file.")
    if path.is_dir():
        network = _load_folder(path, base, dtype)
    elif path.suffix != ".safetensors":
        raise MissingError(f"checkpoint {path} is not a .safetensors file: other formats are not read.")
    else:
        tensors = read_safetensors(path)
        if is_lora(tensors):
            return load_lora(path, tensors, base, adapter, options)
        network = _load_file(path, tensors, base, dtype)
    if scale != 1.0:
        raise MissingError(f"{path} is a whole network, not a LoRA: lora_scale {scale:g} means nothing for it.")
    return network


def _what_a_folder_holds(folder: Path, base: Any) -> Path:
    """The network's subfolder or the safetensors file in a checkpoint's folder."""
    for name in LORA_FILES:
        if (folder / name).is_file():
            return folder / name
    for name in TUNED_FOLDERS[part_of(base)]:
        if (folder / name).is_dir():
            return folder / name
    if (folder / "config.json").is_file():
        return folder
    other = next((name for names in TUNED_FOLDERS.values() for name in names if (folder / name).is_dir()), None)
    if other is not None:
        raise _of_another_model(folder, check_config(folder / other), base)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        names = first_few(file.name for file in files)
        raise MissingError(f"{folder} holds several checkpoints ({names}): name the file that is meant.")
    return files[0] if files else folder  # an empty folder is told about when its config.json is not found


def _load_folder(folder: Path, base: Any, dtype: torch.dtype) -> Network:
    config = check_config(folder)
    own = family_of_config(_config_of(base))
    found = family_of_config(config) if "_class_name" in config else own
    if found != own:
        raise _of_another_model(folder, config, base)
    module = load_part(type(base), folder, dtype)
    _compare(folder, module.state_dict(), base)
    return Network(module)


def _of_another_model(folder: Path, config: Mapping[str, Any], base: Any) -> MissingError:
    found, own = family_of_config(config), family_of_config(_config_of(base))
    what = f"{config.get('_class_name')}" + (f" of {TITLES[found]}" if found else "")
    return MissingError(
        f"{folder} holds a {what}, but the suite's model needs a {type(base).__name__}"
        + (f" of {TITLES[own]}" if own else "")
        + ": take another checkpoint."
    )


def _config_of(network: Any) -> dict[str, Any]:
    return {**network.config, "_class_name": type(network).__name__}


def _load_file(path: Path, tensors: dict[str, Tensor], base: Any, dtype: torch.dtype) -> Network:
    """A whole network as one safetensors file, in diffusers' or the original key names."""
    from accelerate import init_empty_weights

    own, found = family_of_config(_config_of(base)), family_of_keys(tensors)
    if own and found and own != found:
        raise MissingError(
            f"{path} is a checkpoint of another model than the suite's: of {TITLES[found]}, not of {TITLES[own]}."
        )
    tensors = _in_our_layout(path, tensors, base)
    _compare(path, tensors, base)
    with quiet(), init_empty_weights(include_buffers=False):  # buffers that no file holds are computed
        module = type(base).from_config(base.config)
    module.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    return Network(module.to(dtype).eval().requires_grad_(False))


def _in_our_layout(path: Path, tensors: dict[str, Tensor], base: Any) -> dict[str, Tensor]:
    """The tensors under diffusers' key names, converted by diffusers itself if they are in the original layout."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES as CONVERTERS

    expected = _shapes(base).keys()
    for wrapper in _WRAPPERS:
        if all(key.startswith(wrapper) for key in tensors):
            tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
    if expected & tensors.keys() or type(base).__name__ not in CONVERTERS:
        return tensors
    convert = CONVERTERS[type(base).__name__]["checkpoint_mapping_fn"]
    try:
        with quiet():
            found: dict[str, Tensor] = convert(checkpoint=dict(tensors), config=dict(base.config))
    except Exception as error:  # a layout that diffusers does not know ends in whatever its code meets first
        raise MissingError(
            f"{path} is in no layout that diffusers can convert to a {type(base).__name__} ({short(error)}): it has "
            f"{first_few(tensors)}."
        ) from error
    return found or tensors


def _shapes(base: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the base network, adapters in it aside."""
    return {name: tuple(place.value.shape) for name, place in base_places(base).items()}


def _compare(path: Path, tensors: Mapping[str, Tensor], base: Any) -> None:
    """MissingError unless keys and shapes are those of the base network."""
    expected = _shapes(base)
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
