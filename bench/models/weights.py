"""Where weights are, from the way they are named, and the digest that says which ones they are.

A name is "shapes:NAME" (shipped with the embedded world), a local path, or a hub id
"owner/name[@revision][:folder or file]"; "#sha256=..." behind it demands that digest. A local path wins. Only weights
in safetensors, configurations and vocabularies are fetched: never code, and no format that executes it when loaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError, suggest
from bench.models.families import NETWORK_FOLDERS
from bench.models.peft_files import LORA_FILES, PEFT_CONFIG, TRAINER_CONFIG, config_beside, trainer_config_beside
from bench.models.variants import TWINS, is_twin, only_variants
from bench.store.atomic import read_bytes, read_json
from bench.store.digests import state_of
from metrics.weights.digest_cache import file_digest

if TYPE_CHECKING:
    from metrics.weights.hub_name import HubName

_SHAPES = Path(__file__).parents[1] / "shapes" / "weights"
# What is fetched: plain numbers, configurations, vocabularies, and chat templates (which are rendered in a sandbox).
_SAFE = (".safetensors", ".json", ".txt", ".model", ".jinja")
# Files that can change a pixel. Read-me files, previews and caches cannot.
_COUNTED = frozenset({*_SAFE, ".gz", ".bin", ".pt", ".pth", ".tar", ".ckpt"})
# What can run code when it is read, or is code.
_CODE = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".py", ".msgpack", ".h5", ".onnx", ".ot"})
# Parts of a published pipeline that no image here passes through.
_UNUSED_PARTS = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_PIPELINE = "model_index.json"
# What `bench train` writes about a checkpoint: paths, times.
_TRAINING = "training.json"
_PIN = re.compile(r"(?P<name>.+)#sha256=(?P<digest>[^#]*)")
_BLOB = re.compile(r"[0-9a-f]{64}")


def resolve(spec: str) -> Path:
    """The local file or folder that a weights name means; a hub id is fetched if it is not cached.

    Raises MissingError with one sentence that says how to get it, also when a demanded sha256 is not the one found;
    UsageError when the demand itself is no sha256.
    """
    name, wanted = split_pin(spec)
    path = _find(name)
    if wanted is not None:
        check_pin(name, path, wanted)
    return path


def check_pin(name: str, path: Path, expected: str) -> None:
    """Raise MissingError unless the weights at a path have the demanded sha256; a file's own is as good."""
    found = digest(path)
    if expected != found and not (path.is_file() and _content(path) == expected):
        raise MissingError(
            f"weights '{name}' have the sha256 {found}, expected {expected}: they are damaged, were changed by their "
            "authors, or the digest is of other weights; compare it with the source, or pin a revision "
            "(owner/name@...)"
        )


def split_pin(spec: str) -> tuple[str, str | None]:
    """A weights name without its "#sha256=..." and the digest demanded; UsageError when that is no sha256."""
    match = _PIN.fullmatch(spec)
    if match is None:
        return spec, None
    if not _BLOB.fullmatch(match["digest"].lower()):
        raise UsageError(
            f"'#sha256={match['digest']}' behind the weights '{match['name']}' must be 64 hex digits, got "
            f"{len(match['digest'])} characters"
        )
    return match["name"], match["digest"].lower()


def digest(path: Path | str) -> str:
    """sha256 (64 hex digits) over the names and contents of the weight, configuration and vocabulary files.

    A single file's own name does not count, and neither does the place of a folder. The configuration read with a LoRA
    counts. In a folder of diffusers only what its loader reads counts. MissingError when there is nothing to digest.
    """
    root = Path(path)
    if root.is_file():
        config = config_beside(root) or trainer_config_beside(root)
        if config is None:
            return _content(root)
        return hashlib.sha256(f"{_content(root)}\n{_content(config)}\n".encode()).hexdigest()
    files = _loaded(root, sorted(_counted(root)))
    if not files:
        raise MissingError(
            f"no weights in {root}: expected .safetensors files, as diffusers and transformers save them"
        )
    whole = hashlib.sha256()
    for name in files:
        whole.update(f"{name}\0{_content(root / name)}\n".encode())
    return whole.hexdigest()


def _counted(root: Path, inside: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The files that can matter, by their paths in a folder; folders that are links are entered, loops are not."""
    folder = root / inside
    real = os.path.realpath(folder)
    if real in above or not folder.is_dir():
        return
    for entry in os.scandir(folder):
        name = f"{inside}{entry.name}"
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _counted(root, f"{name}/", above | {real})
        elif Path(name).suffix in _COUNTED and entry.is_file():
            yield name


def _loaded(root: Path, files: list[str]) -> list[str]:
    """Of a folder's files those that are read when it is loaded: all, unless it is one of diffusers or PEFT.

    In doubt a file counts: a run made twice is better than two runs under one name.
    """
    if not ({_PIPELINE, PEFT_CONFIG} & set(files) or _is_network(root)):
        return files
    kept = [name for name in files if name.endswith(_SAFE) and name != _TRAINING]
    networks = {f"{folder}/" for folders in NETWORK_FOLDERS.values() for folder in folders}
    if _PIPELINE in kept and any(name.startswith(tuple(networks)) for name in kept):
        beside = {_PIPELINE, PEFT_CONFIG, TRAINER_CONFIG, *LORA_FILES}
        kept = [name for name in kept if name in beside or name.partition("/")[0] not in {*_UNUSED_PARTS, name}]
    twins = {name for name in kept if is_twin(name)}
    whole = {name.rpartition("/")[0] for name in kept if name.endswith(".safetensors") and name not in twins}
    return [name for name in kept if name not in twins or name.rpartition("/")[0] not in whole]


def _is_network(root: Path) -> bool:
    """Whether a folder is a network as diffusers saves it. A damaged configuration is told about when it is loaded."""
    try:
        config = json.loads(read_bytes(root / "config.json"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "_class_name" in config


def trained_on(spec: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(metrics, image sets) that a checkpoint of `bench train` was trained on, from its training.json; () if unsaid.

    A file of weights is a checkpoint's if training.json lies beside it. Raises MissingError (no such weights) and
    UsageError (training.json holds something else).
    """
    path = resolve(spec)
    file = (path.parent if path.is_file() else path) / _TRAINING
    try:
        data = read_bytes(file)
        if state_of(file, data) == "damaged":
            beside = f"{file.name}.sha256"
            raise UsageError(f"{file} is damaged, or was edited: restore it, or remove {beside} if you edited it")
        facts = json.loads(data.decode("utf-8"))
    except OSError:  # no folder of ours
        facts = None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{file} is not valid JSON: repair it, or remove it if `bench train` did not write it"
        ) from None
    if not isinstance(facts, dict):
        return (), ()
    key = "trained_on" if "trained_on" in facts else "reward"  # the first checkpoints name one reward only
    return _names(file, key, facts.get(key)), _names(file, "trained_on_data", facts.get("trained_on_data"))


def _names(file: Path, key: str, value: Any) -> tuple[str, ...]:
    """The names in an entry of training.json: one, a list, or the keys of weights. Raises UsageError for others."""
    names = [value] if isinstance(value, str) else [] if value is None else value
    if isinstance(names, list | dict) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise UsageError(f"{file}: {key} must be a list of names, got {json.dumps(value)[:60]}: repair it")


def digest_of(spec: str) -> str:
    """The digest of the weights that a name means. Raises MissingError."""
    return digest(resolve(spec))


def _content(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError as error:
        raise MissingError(f"weights {file} cannot be read: {error.strerror}") from None


def _find(name: str) -> Path:
    if name.startswith("shapes:"):
        return _shapes(name.removeprefix("shapes:"))
    path = Path(name).expanduser()
    if path.exists():
        return path
    hub = hub_name(name)
    if hub is None:
        raise MissingError(f"weights '{name}' do not exist: give a local file or folder, or a hub id like owner/name")
    return _from_hub(dataclasses.replace(hub, patterns=tuple(f"*{ending}" for ending in _SAFE)))


def hub_name(name: str) -> HubName | None:
    """The parts of a weights name (without its "#sha256=...") that means a repository of the hub; None for others."""
    from metrics.weights.hub_name import parse

    path = Path(name).expanduser()
    if name.startswith("shapes:") or path.exists() or path.is_absolute():
        return None
    hub = parse(name)
    # "folder/file.safetensors" has the form of a hub id, and is meant as a path.
    local = hub is not None and hub.inner is None and hub.revision is None and path.suffix in _SAFE
    return None if local else hub


def _shapes(name: str) -> Path:
    path = _SHAPES / name
    if name and path.exists() and _SHAPES in path.resolve().parents:
        return path
    there = sorted(entry.name for entry in _SHAPES.glob("[!.]*")) if _SHAPES.is_dir() else []
    hint = suggest(name, there)
    raise MissingError(
        f"the embedded weights 'shapes:{name}' are not in this installation.{hint} "
        "`make shapes` builds them in a checkout; a release contains them."
    )


def _from_hub(name: HubName) -> Path:
    """The local copy of what a hub name means."""
    from metrics.errors import MissingWeightsError
    from metrics.weights.hub import fetch_folder, listing

    inner = name.inner.strip("/") if name.inner else None
    if inner and Path(inner).suffix in _CODE:
        raise MissingError(
            f"weights '{name}' are not fetched: a {Path(inner).suffix} file can run code when it is loaded; give a "
            ".safetensors file or a folder of them"
        )
    try:
        wanted = _wanted(name, inner)
        root = fetch_folder(name, wanted, TWINS)
        if variants := only_variants(listing(name), wanted):
            root = fetch_folder(name, variants)
    except MissingWeightsError as error:
        raise MissingError(str(error).rstrip(".")) from None
    path = root / inner if inner else root
    if not path.exists() or (path.is_dir() and not any(path.rglob("*.safetensors"))):
        raise MissingError(_nothing_there(name, inner))
    return path


def _wanted(name: HubName, inner: str | None) -> list[str]:
    """Patterns of the files that the name needs."""
    if inner and inner.endswith(".safetensors"):
        folder = inner.rpartition("/")[0]
        # The scale of a LoRA in PEFT's layout, and of one of DanceGRPO or FastVideo.
        return [inner, *(f"{folder}/{name}".lstrip("/") for name in (PEFT_CONFIG, TRAINER_CONFIG))]
    folders = [inner] if inner else _parts_of_pipeline(name)
    if folders is None:
        return [f"*{ending}" for ending in _SAFE]
    inside = [f"{folder}/*{ending}" for folder in folders for ending in _SAFE]
    return inside if inner else [_PIPELINE, *inside]


def _parts_of_pipeline(name: HubName) -> list[str] | None:
    """Folders of the parts that a repository's `model_index.json` names; None when it is no pipeline."""
    from metrics.weights.hub import fetch_folder, listing

    whole = dataclasses.replace(name, inner=None)
    root = fetch_folder(whole, [_PIPELINE])
    index = read_json(root / _PIPELINE)
    if index is None:
        return None
    named = [key for key, value in index.items() if isinstance(value, list) and value and value[0] is not None]
    there = {file.partition("/")[0] for file in listing(whole)} or set(named)
    return [part for part in named if part in there and part not in _UNUSED_PARTS]


def _nothing_there(name: HubName, inner: str | None) -> str:
    """Why a fetched repository has nothing to load under the name."""
    from metrics.weights.hub import listing

    files = listing(name)
    folders = sorted({file.rpartition("/")[0] for file in files if file.endswith(".safetensors")} - {""})
    below = [file for file in files if not inner or file == inner or file.startswith(f"{inner}/")]
    what = f"'{inner}'" if inner else "weights"
    if below:
        endings = sorted({Path(file).suffix for file in below if Path(file).suffix in _CODE})
        kinds = f" (there are {', '.join(endings)})" if endings else ""
        return (
            f"weights '{name}': {inner or name.repo} has no .safetensors file{kinds}, and formats that can run code "
            "are not fetched: convert it, or name another repository"
        )
    hint = suggest(inner or "", folders)
    there = f" Folders with weights: {', '.join(folders)}." if folders else ""
    return f"weights '{name}': the repository {name.repo} has no {what}.{hint}{there}"
