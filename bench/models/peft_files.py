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
_LONGEST_HEADER = 100 * 2**20


def config_beside(path: Path) -> Path | None:
    """The adapter_config.json that is read with a LoRA's file, since it says how strongly the LoRA acts.

    It is read for files in PEFT's layout, whatever they are called, and for those with PEFT's name.
    """
    config = path.parent / PEFT_CONFIG
    if path.suffix != ".safetensors" or not config.is_file():
        return None
    return config if path.name == PEFT_FILE or in_peft_layout(path) else None


def in_peft_layout(path: Path) -> bool:
    """Whether a safetensors file has PEFT's key names; False for one that is damaged, which loading tells of."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= _LONGEST_HEADER else {}
    except (OSError, ValueError, struct.error):
        return False
    return any(str(key).startswith(PEFT_PREFIX) for key in header)
