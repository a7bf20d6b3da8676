"""Digesting and reading weights. Only safetensors and `torch.load(weights_only=True)`; loading is strict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metrics.errors import MetricError, MissingWeightsError
from metrics.types import Facts, Request
from metrics.weights.digest_cache import file_digest

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".tar", ".ckpt")


def sha256(path: Path) -> str:
    """The sha256 of a file (hex), remembered on disk while the file keeps its size, times of change and inode."""
    return file_digest(path)


def digest_files(files: Mapping[str, Path] | Iterable[Path]) -> dict[str, str]:
    """Name -> sha256 of files: under the names given, or each file's own; a folder stands for the files below it.

    MetricError where two files have one name, since one of them would be missing from the digests.
    """
    named = list(files.items()) if isinstance(files, Mapping) else [(_own_name(path), path) for path in files]
    found: dict[str, str] = {}
    for name, path in named:
        inner = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        for item in inner:
            key = name if item == path else "/".join(part for part in (name, item.relative_to(path).as_posix()) if part)
            if key in found:
                raise MetricError(f"two files of one metric are named '{key}': give each a name of its own")
            found[key] = sha256(item)
    return found


def _own_name(path: Path) -> str:
    return "" if path.is_dir() else path.name


def has_published(facts: Facts, digests: Mapping[str, str]) -> bool:
    """Whether one of the files is a published one, as far as the published digests are known."""
    return not facts.sha256 or any(value.startswith(known) for value in digests.values() for known in facts.sha256)


def label_for(facts: Facts, request: Request, digests: Mapping[str, str], marked: str | None = None) -> str | None:
    """None when the weights are the published ones; else the requested label, the file's own, or "own weights".

    Where the published digests are known, they alone decide; otherwise asking for the published source is enough.
    """
    if facts.weights is None:
        return request.label  # a metric without published weights: the caller knows what it belongs to
    if facts.sha256:
        published = has_published(facts, digests)
    elif request.weights is None:
        published = True
    else:
        asked = re.split(r"[@:]", request.weights)[0]
        published = asked == facts.weights.split(":")[0] and not Path(request.weights).exists()
    return None if published else request.label or marked or "own weights"


def marked_label(path: Path) -> str | None:
    """The label a safetensors file carries in its metadata (key "label"), if any."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as opened:
            return (opened.metadata() or {}).get("label")
    except (SafetensorError, OSError):
        return None  # reading the tensors will say what is wrong


def find_file(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of `names` (globs) in a folder; MissingWeightsError says what was looked for."""
    for name in names:
        for path in sorted(folder.glob(name)):
            if path.is_file():
                return path
    raise MissingWeightsError(f"{what}: folder '{folder}' has none of {', '.join(names)}")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file; MissingWeightsError if it is absent or damaged."""
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingWeightsError(f"{what}: file '{path}' is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise MissingWeightsError(f"{what}: file '{path}' is not readable JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise MissingWeightsError(f"{what}: file '{path}' must hold a JSON object")
    return content


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint file: safetensors, or a pickle read with weights_only (never runs code).

    A wrapping {"state_dict": ...} is taken off. MissingWeightsError if the file is absent, damaged or holds code.
    """
    import torch

    if not path.is_file():
        raise MissingWeightsError(f"weights file '{path}' does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(str(path), device="cpu")
        else:
            state = _unpickle(path)
    except Exception as error:  # damaged files fail in many ways, all of which mean the same to the user
        reason = str(error).strip().split("\n")[0].split(". ")[0][:120]
        raise MissingWeightsError(
            f"weights file '{path}' cannot be read ({type(error).__name__}: {reason}): it is damaged or not a "
            "checkpoint; download it again"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise MissingWeightsError(f"weights file '{path}' does not hold a state dict (names to tensors)")
    return state


def _unpickle(path: Path) -> Any:
    import zipfile

    import torch

    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def load_strict(module: Any, state: Mapping[str, Any], where: str, drop: Sequence[str] = ()) -> None:
    """Put every tensor of `state` into `module` (built on the meta device or not); nothing may be left over.

    `drop`: regular expressions of keys that are ignored on purpose. Floating tensors become float32.
    MissingWeightsError names the first missing, extra or wrongly shaped keys.
    """
    ignored = [re.compile(pattern) for pattern in drop]
    kept = {key: value for key, value in state.items() if not any(p.fullmatch(key) for p in ignored)}
    wanted = module.state_dict()
    missing, extra = sorted(set(wanted) - set(kept)), sorted(set(kept) - set(wanted))
    check_keys(missing, extra, where)
    wrong = [key for key, value in kept.items() if tuple(value.shape) != tuple(wanted[key].shape)]
    if wrong:
        key = wrong[0]
        raise MissingWeightsError(
            f"{where}: {len(wrong)} tensors have the wrong shape, first '{key}' {list(kept[key].shape)} instead of "
            f"{list(wanted[key].shape)}: these weights belong to another architecture"
        )
    ready = {key: value.float() if value.is_floating_point() else value for key, value in kept.items()}
    module.load_state_dict(ready, strict=True, assign=True)
    module.requires_grad_(False).eval()


def check_keys(missing: Sequence[str], extra: Sequence[str], where: str) -> None:
    """MissingWeightsError that names the first missing and extra keys, if there are any."""
    if not missing and not extra:
        return
    parts = []
    for kind, keys in (("missing", missing), ("unexpected", extra)):
        if keys:
            parts.append(f"{len(keys)} keys are {kind}, first {', '.join(repr(key) for key in keys[:3])}")
    raise MissingWeightsError(f"{where}: {'; '.join(parts)}: these weights belong to another architecture")
