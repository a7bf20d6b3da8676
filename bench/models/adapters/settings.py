"""What is said about an adapter beside its tensors: rank, alpha and kind, from the configurations and the header.

PEFT writes adapter_config.json, DanceGRPO and FastVideo write lora_config.json, diffusers writes into the header.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.models.loading import check_config, first_few, read_header
from bench.models.peft_files import TRAINER_CONFIG, config_beside, trainer_config_beside

SUPPORTED = {"LORA": "lora", "LOHA": "loha", "LOKR": "lokr", "OFT": "oft"}
"""PEFT's names of adapters that are read -> kinds."""
# Inits that take a part of the base weights into the adapter, so that it fits only what is left of them.
_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_OFT = ("coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms")
# Settings that say nothing about the result beyond what the tensors say, or that are read here.
_HARMLESS = frozenset({
    "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "init_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config",
    "megatron_config", "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "alpha_pattern", "alpha", "revision", "runtime_config", "target_modules", "task_type", "use_dora",
    "use_rslora", "rank_dropout", "module_dropout", "rank_dropout_scale", "use_effective_conv2d", "decompose_both",
    "decompose_factor", "oft_block_size", *_OFT,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Rank and alpha of an adapter's layers as something beside the tensors says them (None: it says nothing)."""

    rank: int | None = None
    alpha: float | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    rank_stabilised: bool = False
    oft: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    """Where this was read."""
    kind: str | None = None

    def rank_of(self, layer: str) -> int | None:
        """The rank of a layer by its dotted path."""
        from peft.utils.other import get_pattern_key

        return self.ranks.get(get_pattern_key(list(self.ranks), layer), self.rank)

    def alpha_of(self, layer: str) -> float | None:
        """The alpha of a layer by its dotted path."""
        from peft.utils.other import get_pattern_key

        return self.alphas.get(get_pattern_key(list(self.alphas), layer), self.alpha)


def read_settings(path: Path, parts: Iterable[str]) -> dict[str, Settings]:
    """Settings of each part ("network", "text_encoder", ...); {} if nothing says any. MissingError: cannot be used."""
    if (config := config_beside(path)) is not None:
        return dict.fromkeys(parts, _of_peft(path, check_config(config.parent, config.name), config.name))
    if found := _of_header(path, parts):
        return found
    if (config := trainer_config_beside(path)) is not None:
        return {"network": _of_trainer(path, check_config(config.parent, config.name))}
    return {}


def _of_peft(path: Path, config: Mapping[str, Any], source: str) -> Settings:
    """From PEFT's own names."""
    kind = str(config.get("peft_type") or "LORA").upper()
    if kind not in SUPPORTED:
        raise MissingError(
            f"{path} is a PEFT adapter of type {kind}, which is not read: types read are {', '.join(SUPPORTED)}"
        )
    _check_init(path, config)
    unknown = [key for key, value in config.items() if key not in _HARMLESS and value not in (None, False, [], {}, "")]
    if changed := [key for key in unknown if config[key] != _default(kind, key)]:
        raise MissingError(f"{path} was made with PEFT settings that are not supported: {first_few(changed)}")
    name = "lora_alpha" if kind == "LORA" else "alpha"
    if config.get("r") is not None and kind != "OFT":  # what PEFT takes where its own file does not say it
        config = {name: _default(kind, name), **config}
    return Settings(
        rank=_number(path, source, config, "r", int) if kind != "OFT" or config.get("r") else None,
        alpha=_number(path, source, config, name, float),
        ranks=_pattern(path, source, config, "rank_pattern", int),
        alphas=_pattern(path, source, config, "alpha_pattern", float),
        rank_stabilised=bool(config.get("use_rslora")),
        oft={key: config.get(key, _default("OFT", key)) for key in _OFT} | {"current": _since_018(config)}
        if kind == "OFT"
        else {},
        source=source,
        kind=SUPPORTED[kind],
    )


def _check_init(path: Path, config: Mapping[str, Any]) -> None:
    init = config.get("init_lora_weights")
    if is_changing(init):
        raise MissingError(
            f"{path} is a LoRA initialised with init_lora_weights='{init}', which changed the base weights as well: "
            "it fits "
            "only those. Convert it with PEFT where it was trained (save_pretrained with "
            "path_initial_model_for_weight_conversion), and name the converted one."
        )


def is_changing(init: Any) -> bool:
    """Whether PEFT's init_lora_weights changes the base weights in training."""
    return isinstance(init, str) and init.lower().startswith(_CHANGING)


def _since_018(config: Mapping[str, Any]) -> bool:
    """Whether PEFT computes the rotations of OFT as it did when this was written."""
    if config.get("use_cayley_neumann") is False:
        return True
    version = str(config.get("peft_version") or "0").partition("@")[0].split(".")
    return tuple(int(part) for part in version[:2] if part.isdigit()) >= (0, 18)


def _default(kind: str, key: str) -> Any:
    """The value that PEFT gives to a setting that nobody sets."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig

    classes = {"LORA": LoraConfig, "LOHA": LoHaConfig, "LOKR": LoKrConfig, "OFT": OFTConfig}
    known = {one.name: one for one in dataclasses.fields(classes[kind])}
    return known[key].default if key in known else None


def _of_trainer(path: Path, config: Mapping[str, Any]) -> Settings:
    """From lora_config.json: {"lora_params": {"lora_rank": 128, "lora_alpha": 256, ...}}."""
    facts = config.get("lora_params", config)
    if not isinstance(facts, Mapping):
        raise MissingError(
            f"{path.parent / TRAINER_CONFIG} is damaged (lora_params is not an object): download the file again"
        )
    return Settings(
        rank=_number(path, TRAINER_CONFIG, facts, "lora_rank", int),
        alpha=_number(path, TRAINER_CONFIG, facts, "lora_alpha", float),
        source=TRAINER_CONFIG,
    )


def _of_header(path: Path, parts: Iterable[str]) -> dict[str, Settings]:
    """From diffusers' metadata in the file's header: "unet.r", "text_encoder.lora_alpha", ..."""
    try:
        found = json.loads(read_header(path).get("lora_adapter_metadata") or "{}")
    except (ValueError, RecursionError) as error:
        raise MissingError(
            f"{path} has a damaged header (lora_adapter_metadata is not valid JSON): download it again"
        ) from error
    if not isinstance(found, dict):
        return {}
    made = {}
    for part in parts:
        prefixes = ("unet.", "transformer.") if part == "network" else (f"{part}.",)
        own = {
            key[len(prefixe) :]: value
            for prefixe in prefixes
            for key, value in found.items()
            if key.startswith(prefixe)
        }
        # diffusers' `save_lora_adapter` of a network alone writes PEFT's names as they are.
        own |= {key: value for key, value in found.items() if "." not in key} if part == "network" else {}
        if own:
            made[part] = _of_peft(path, own, "its header")
    return made


def _pattern(path: Path, source: str, config: Mapping[str, Any], key: str, kind: type[Any]) -> dict[str, Any]:
    """Numbers by the patterns of layers' names that they are for."""
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise MissingError(f"{path}: {source} states {key} = {value!r}, but it must be an object: download it again")
    return {
        str(name): _number(path, source, {f"{key}.{name}": one}, f"{key}.{name}", kind) for name, one in value.items()
    }


def _number(path: Path, source: str, config: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise MissingError(
            f"{path}: {source} states {key} = {value!r}, but it must be a number above 0: download the file again"
        )
    return kind(value)
