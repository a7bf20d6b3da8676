"""Loads one part of a diffusers folder from safetensors, and tells in one sentence what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.errors import MissingError
from bench.models.loading import check_config, first_few, quiet, short
from bench.models.weight_files import weight_files
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)


def load_part(part: type[Any], folder: Path, dtype: torch.dtype) -> Any:
    """Load a network (diffusers or transformers class) from its folder, complete and of the configured shapes.

    Raises MissingError: the folder, its configuration or its safetensors file is absent or damaged, or keys are
    missing or of another shape (the first few are named).
    """
    if how := check_config(folder).get("quantization_config"):
        method = how.get("quant_method", "?") if isinstance(how, dict) else "?"
        raise MissingError(
            f"{folder} is quantised ({method}), which is not supported: use the weights in bfloat16, float16 or float32"
        )
    weights = weight_files(folder)
    files = list(weights.files)
    if not files:
        raise MissingError(f"{folder} contains no .safetensors file{_pickled(folder)}")
    if weights.variant:
        logger.warning(f"{folder} contains only {weights.variant} weights; using them", extra=ONCE)
    try:
        with quiet():
            loaded, info = part.from_pretrained(
                str(folder),
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                variant=weights.variant or None,
            )
    except MissingError:
        raise
    except Exception as error:  # each library has its own ways to fail on a damaged file; none of them is a bug here
        for file in files:
            _probe(file)
        raise MissingError(f"{folder} cannot be loaded as a {part.__name__} ({short(error)})") from error
    absent = [*info.get("missing_keys", ())]
    mismatched = [str(key[0] if isinstance(key, tuple) else key) for key in info.get("mismatched_keys", ())]
    if absent or mismatched:
        wrong = f"lacks {first_few(absent)}" if absent else f"has other shapes for {first_few(mismatched)}"
        raise MissingError(f"{files[0]} does not fit its configuration: it {wrong}")
    return loaded.eval().requires_grad_(False)


def _probe(file: Path) -> None:
    """MissingError if not even the header and size of a safetensors file are right."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as handle:
            for key in handle.keys():  # noqa: SIM118 - the handle is no dict
                handle.get_slice(key)
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingError(f"{file} is damaged ({short(error)}): download the file again") from error


def _pickled(folder: Path) -> str:
    """Why a folder without safetensors may look complete."""
    files = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".ckpt", ".msgpack", ".h5"))
    if not files:
        return ": it is not a complete part of a pipeline"
    return f": {first_few(files)} can run code when it is read and is not loaded; save the part as safetensors"
