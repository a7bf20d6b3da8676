"""From an adapter's file to factors for each layer of the pipeline's networks, or one sentence that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.errors import MissingError
from bench.models.adapters.assemble import Assembly, Group, check_complete
from bench.models.adapters.base_weights import base_places
from bench.models.adapters.factors import Factors
from bench.models.adapters.keys import NETWORK, PLAIN, Key, parse_key
from bench.models.adapters.names import Names, Targets
from bench.models.adapters.prepare import check_values, unwrapped
from bench.models.adapters.refusals import of_another_model
from bench.models.adapters.settings import Settings, read_settings
from bench.models.families import family_of_config


@dataclass(slots=True)
class Adapter:
    """What an adapter does to each part of a pipeline: factors by layer, and whole parameters by name."""

    path: Path
    layers: dict[str, dict[str, Factors]] = field(default_factory=dict)
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """Text encoders whose part of the adapter was left out because it was asked for."""

    @property
    def parts(self) -> list[str]:
        """The parts that it acts on."""
        return [
            name
            for name in dict.fromkeys([*self.layers, *self.weights])
            if self.layers.get(name) or self.weights.get(name)
        ]


def read_adapter(
    path: Path,
    tensors: Mapping[str, Tensor],
    parts: Mapping[str, nn.Module],
    strength: float = 1.0,
    ignore_text: bool = False,
) -> Adapter:
    """Read an adapter for these parts: "network" and the text encoders by their names in diffusers.

    `strength` is needed for what is held as whole weights. Raises MissingError, one sentence that says what the file
    is: of another model, of a kind that is not read, damaged.
    """
    base: Any = parts[NETWORK]
    family = family_of_config({**_config(base), "_class_name": type(base).__name__})
    tensors = unwrapped(tensors, parts, family)
    keys = {key: parse_key(key, family) for key in tensors}
    _check_kinds(path, keys)
    adapter = Adapter(path)
    if ignore_text:
        adapter.left_out = tuple(sorted({one.part for one in keys.values()} - {NETWORK}))
        keys = {key: one for key, one in keys.items() if one.part == NETWORK}
    check_values(path, keys, tensors)
    settings = read_settings(path, parts)
    strange: list[str] = []
    names = {part: Names(module) for part, module in parts.items() if any(one.part == part for one in keys.values())}
    groups = _grouped(path, keys, tensors)
    found: list[tuple[Group, Targets]] = []
    for (part, layer), group in groups.items():
        targets = names[part].find(layer) if part in names else None
        if targets is None:
            strange.append(f"{group.key.prefix}{layer}")
        else:
            found.append((group, targets))
    plain = _plain(path, keys, tensors, parts, names, strange)
    if strange:
        raise of_another_model(path, base, keys.values(), strange, bool(found or plain))
    check_complete(path, (group for group, _ in found))
    assembly = Assembly(path, parts, names, strength)
    for group, targets in found:
        assembly.add(group, targets, settings.get(group.key.part, Settings()))
    assembly.finish(plain)
    adapter.layers, adapter.weights = assembly.layers, assembly.weights
    if not adapter.parts:
        raise MissingError(f"{path} contains nothing that applies to the suite's model")
    return adapter


def _config(network: Any) -> dict[str, Any]:
    config = getattr(network, "config", {})
    return dict(config) if isinstance(config, Mapping) else {}


def _twice(path: Path, what: str) -> MissingError:
    return MissingError(f"{path} is damaged: it contains {what} twice")


def _check_kinds(path: Path, keys: Mapping[str, Key]) -> None:
    if embedded := sorted(key for key in keys if key.startswith("bundle_emb.")):
        raise MissingError(
            f"{path} contains textual inversions beside its adapter ({embedded[0]}), which are not read from it: save "
            "them in files of their own, name those in `embeddings`, and take them out of this one"
        )
    refused = [(key, one.factor) for key, one in keys.items() if one.kind == "refused"]
    if refused:
        key, what = min(refused)
        raise MissingError(
            f"{path} has {what} ({key}), which is not supported (LoRA, LoHa, LoKr, OFT and DoRA are): merge it into a "
            "full "
            "checkpoint with the tool that made it, and give that"
        )
    adapters = sorted({one.adapter for one in keys.values() if one.adapter})
    if len(adapters) > 1:
        raise MissingError(f"{path} contains several adapters ({', '.join(adapters)}): save one of them on its own")


def _grouped(path: Path, keys: Mapping[str, Key], tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], Group]:
    groups: dict[tuple[str, str], Group] = {}
    for name, key in keys.items():
        if key.kind in (PLAIN, "original"):
            continue
        group = groups.setdefault((key.part, key.layer), Group(key))
        factors = group.kinds.setdefault(key.kind, {}) if key.kind else group.shared
        if key.factor in factors:
            raise _twice(path, f"the {key.factor} of {key.layer}")
        factors[key.factor] = tensors[name]
    return groups


def _plain(
    path: Path,
    keys: Mapping[str, Key],
    tensors: Mapping[str, Tensor],
    parts: Mapping[str, nn.Module],
    names: Mapping[str, Names],
    strange: list[str],
) -> dict[str, dict[str, Tensor]]:
    """Whole parameters in the file, by part and by their names in diffusers; unknown ones are added to `strange`."""
    found: dict[str, dict[str, Tensor]] = {}
    inside = {part: base_places(parts[part]) for part in names}
    for name, key in keys.items():
        if key.kind != PLAIN:
            continue
        own = f"{key.layer}.{key.factor}" if key.layer else key.factor
        targets = names[key.part].find(key.layer) if key.part in names else None
        mine = found.setdefault(key.part, {})
        if own in inside.get(key.part, {}):
            if own in mine:
                raise _twice(path, own)
            mine[own] = tensors[name]
        elif targets and key.factor in ("weight", "bias", "scale"):
            factor = key.factor.replace("scale", "weight")
            for target in targets:
                value = tensors[name] if target.rows is None else tensors[name][target.rows]
                if f"{target.path}.{factor}" in mine:
                    raise _twice(path, f"{target.path}.{factor}")
                mine[f"{target.path}.{factor}"] = value
        else:
            strange.append(f"{key.prefix}{own}")
    return found
