"""The safetensors files of one network's folder, whichever way they are cut and called."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError
from bench.models.loading import first_few, short
from bench.store.atomic import read_bytes
from metrics.weights.digest_cache import file_digest

if TYPE_CHECKING:
    from torch import Tensor

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""What diffusers, transformers and accelerate call a network's file, in the order in which they are looked for."""
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})")
_VARIANTS = ("", "fp16", "bf16", "fp32", "non_ema")
"""Half-precision and other variants, the better first; "" is the file without any."""


@dataclass(slots=True)
class WeightFiles:
    """Files of one network: `variant` is what stands in their names ("fp16"), "" for none."""

    folder: Path
    files: tuple[Path, ...]
    variant: str = ""
    stem: str = ""
    _places: dict[str, Path] = field(default_factory=dict)

    def digests(self) -> list[str]:
        """The sha256 of each file, in the order of their names."""
        return [file_digest(file) for file in self.files]

    def keys(self) -> set[str]:
        """Names of all tensors. Raises MissingError for a damaged file."""
        if not self._places:
            for file in self.files:
                self._places |= dict.fromkeys(_open(file).keys(), file)
        return set(self._places)

    def integers(self) -> set[str]:
        """Names of the tensors that are of no floating-point type. Raises MissingError for a damaged file."""
        found = set()
        for file in self.files:
            handle = _open(file)
            kinds = {key: str(handle.get_slice(key).get_dtype()) for key in handle.keys()}  # noqa: SIM118 - no dict
            found |= {key for key, kind in kinds.items() if not kind.startswith(("F", "BF"))}
        return found

    def read(self, key: str) -> Tensor:
        """One tensor."""
        self.keys()
        tensor: Tensor = _open(self._places[key]).get_tensor(key)
        return tensor


def _open(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(file), framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingError(f"{file} is damaged ({short(error)}): download the file again") from error


def weight_files(folder: Path) -> WeightFiles:
    """The files to load from a network's folder: whole ones before variants, a full set of shards.

    Raises MissingError where a shard is missing; `files` is empty where there is no safetensors file at all, and has
    all of them where none is called as diffusers, transformers or accelerate call a network.
    """
    names = sorted(file.name for file in folder.glob("*.safetensors"))
    for stem in _STEMS:
        groups: dict[str, list[str]] = {}
        for name in names:
            variant = _variant(name, stem)
            if variant is not None:
                groups.setdefault(variant, []).append(name)
        order = [*(variant for variant in _VARIANTS if variant in groups), *sorted(groups.keys() - set(_VARIANTS))]
        if order:
            chosen = order[0]
            return WeightFiles(folder, _complete(folder, groups[chosen], stem, chosen), chosen, stem)
    return WeightFiles(folder, tuple(folder / name for name in names))


def _variant(name: str, stem: str) -> str | None:
    """ "model.fp16-00001-of-00002.safetensors" -> "fp16"; None for a file that is called otherwise."""
    if not name.startswith(stem):
        return None
    rest = _SHARD.sub("", name.removeprefix(stem).removesuffix(".safetensors"))
    if rest == "":
        return ""
    return rest[1:] if rest.startswith(".") and "." not in rest[1:] else None


def _complete(folder: Path, names: list[str], stem: str, variant: str) -> tuple[Path, ...]:
    """The shards that belong together, by their index or else by their numbers."""
    whole = [name for name in names if not _SHARD.search(name)]
    if whole:
        # diffusers takes the shards here and transformers the whole file: which is meant nobody can know.
        if len(whole) < len(names) and stem == _STEMS[0] and _in_index(folder, stem, variant):
            raise MissingError(
                f"{folder} contains one network twice, whole ({whole[0]}) and in {len(names) - len(whole)} shards with "
                "an index: remove the one that is not meant"
            )
        return (folder / whole[0],)
    wanted = _in_index(folder, stem, variant)
    if not wanted:
        match = _SHARD.search(names[0])
        count = int(match[2]) if match else len(names)
        wanted = {_SHARD.sub(f"-{index:05d}-of-{count:05d}", names[0]) for index in range(1, count + 1)}
    absent = sorted(name for name in wanted if not (folder / name).is_file())
    if absent:
        raise MissingError(f"{folder} is incomplete: of its {len(wanted)} shards {first_few(absent)} is missing")
    return tuple(folder / name for name in sorted(wanted))


def _in_index(folder: Path, stem: str, variant: str) -> set[str]:
    names = [f"{stem}.safetensors.index.{variant}.json", f"{stem}.{variant}.safetensors.index.json"]
    for name in names if variant else [f"{stem}.safetensors.index.json"]:
        try:
            index = json.loads(read_bytes(folder / name))
            return {str(file) for file in index["weight_map"].values()}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise MissingError(f"{folder / name} is damaged ({short(error)}): download the file again") from error
    return set()
