"""How files of LoRAs are called, and which configuration belongs to one in PEFT's layout. Reads no tensor."""

from __future__ import annotations

import json
import struct
from pathlib import Path

PEFT_PREFIX = "base_model.model."
"""What PEFT writes before every key."""
PEFT_FILE = "adapter_model.safetensors"
LORA_FILES = ("pytorch_lora_weights.safetensors", PEFT_FILE)
"""What a LoRA's file is called in a folder, diffusers' name first."""
PEFT_CONFIG = "adapter_config.json"
TRAINER_CONFIG = "lora_config.json"
"""Where DanceGRPO and FastVideo write a LoRA's rank and alpha, beside a file in diffusers' layout."""
_LONGEST_HEADER = 100 * 2**20


def config_beside(path: Path) -> Path | None:
    """The adapter_config.json that is read with a LoRA's file, since it says how strongly the LoRA acts.

    It is read for files in PEFT's layout, whatever they are called, and for those with PEFT's name.
    """
    config = path.parent / PEFT_CONFIG
    if path.suffix != ".safetensors" or not config.is_file():
        return None
    return config if path.name == PEFT_FILE or in_peft_layout(path) else None


def trainer_config_beside(path: Path) -> Path | None:
    """The lora_config.json that is read with a LoRA's file: where nothing else beside it or in it says an alpha."""
    config = path.parent / TRAINER_CONFIG
    if path.suffix != ".safetensors" or not config.is_file() or config_beside(path) is not None:
        return None
    keys = header_keys(path)
    factors = any(".lora_A." in key or ".lora_down." in key or ".lora.down." in key for key in keys)
    return config if factors and not any(key.endswith(".alpha") for key in keys) else None


def in_peft_layout(path: Path) -> bool:
    """Whether a safetensors file has PEFT's key names; False for one that is damaged, which loading tells of."""
    return any(PEFT_PREFIX in key for key in header_keys(path))


def header_keys(path: Path) -> list[str]:
    """Names of the tensors of a safetensors file; [] for one that is damaged, which loading tells of."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= _LONGEST_HEADER else {}
    except (OSError, ValueError, RecursionError, struct.error):
        return []
    return [key for key in header if key != "__metadata__"] if isinstance(header, dict) else []
