"""Which adapters were read otherwise before: by their keys, the alphas in them, and what lies beside. Reads no factor.

Until version 2 alphas that differ by layer were dropped for attention layers of UNets, whole parameters beside factors
were loaded into the base network, alpha in lora_config.json was not read, and adapters whose training changed the base
weights were taken for ordinary ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.models.adapters.keys import NETWORK, PLAIN, Key, is_adapter, parse_key
from bench.models.adapters.settings import is_changing
from bench.models.families import part_of_names
from bench.models.peft_files import LORA_FILES, TRAINER_CONFIG, config_beside, header_keys, trainer_config_beside
from bench.store.atomic import read_bytes


def adapter_file(path: Path) -> Path | None:
    """The adapter's file that loading takes at `path`; None if it is no adapter."""
    indices = [path] if path.is_file() else [path / inner / name for inner in ("", "lora") for name in LORA_FILES]
    return next((index for index in indices if index.is_file() and is_adapter(header_keys(index))), None)


def read_otherwise(path: Path) -> str:
    """What version 1 did with an adapter at `path` (a file or folder) that this one does not, as "put ... into ...".

    "" for an adapter that both read alike, and for what is no adapter.
    """
    file = adapter_file(path)
    if file is None:
        return ""
    if whole := whole_parameters(file):
        return f"put whole parameters of {file.name} ({whole[0]}) into the base network"
    if _alphas_differ(file):
        return f"left out the alphas of {file.name}, which differ by layer, in attention layers"
    if _alpha_beside(file):
        return f"left out the alpha in {TRAINER_CONFIG} beside {file.name}"
    if _alpha_in_header(file):
        return f"left out the alpha in the header of {file.name}"
    if _changed_the_base(file):
        return f"took {file.name}, whose training changed the base weights (init_lora_weights), for an ordinary adapter"
    return ""


def whole_parameters(file: Path) -> list[str]:
    """Keys of an adapter's file that are whole parameters of the network: version 1 put them into the base network."""
    if file.suffix != ".safetensors":
        return []
    keys = {key: parse_key(key, None) for key in header_keys(file)}
    return sorted(key for key, one in keys.items() if one.kind == PLAIN and one.part == NETWORK)


def _alphas_differ(file: Path) -> bool:
    """Whether attention layers of a UNet have alphas that differ by layer, or that only some of them have."""
    keys = {key: parse_key(key, None) for key in header_keys(file)}
    layers = {one.layer for one in keys.values() if one.kind == "lora" and _is_attention_of_a_unet(one)}
    alphas = {key: one for key, one in keys.items() if one.factor == "alpha" and one.layer in layers}
    if not alphas:
        return False
    return len(alphas) < len(layers) or len(set(_numbers(file, list(alphas)))) > 1


def _is_attention_of_a_unet(key: Key) -> bool:
    return part_of_names(key.layer) == "unet" and "attn" in key.layer


def _numbers(file: Path, keys: list[str]) -> list[float]:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as handle:
        return [float(handle.get_tensor(key).flatten()[0]) for key in keys]


def _alpha_beside(file: Path) -> bool:
    """Whether lora_config.json says another alpha than the rank."""
    config = trainer_config_beside(file)
    facts = _json(config) if config is not None else {}
    facts = facts.get("lora_params", facts)
    return isinstance(facts, dict) and facts.get("lora_alpha") not in (None, facts.get("lora_rank"))


def _alpha_in_header(file: Path) -> bool:
    """Whether diffusers' metadata of a network alone, whose names have no prefix, says another alpha than the rank."""
    from safetensors import safe_open

    if file.suffix != ".safetensors" or config_beside(file) is not None:
        return False
    with safe_open(str(file), framework="pt") as handle:
        text = (handle.metadata() or {}).get("lora_adapter_metadata") or "{}"
    try:
        facts = json.loads(text)
    except ValueError:  # told when it is loaded
        return False
    return isinstance(facts, dict) and facts.get("lora_alpha") not in (None, facts.get("r"))


def _changed_the_base(file: Path) -> bool:
    config = config_beside(file)
    return config is not None and is_changing(_json(config).get("init_lora_weights"))


def _json(path: Path) -> dict[str, Any]:
    """A configuration; a damaged one is told about when it is loaded."""
    try:
        found = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
