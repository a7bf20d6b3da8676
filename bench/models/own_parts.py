"""What a tuned checkpoint brings beside its network: text encoders, an autoencoder, the settings of its scheduler.

A full pipeline is more than its UNet: prompts of its side are encoded by its own text encoders, and its own
autoencoder decodes what its network finished. Parts that are those of the base model, to the last bit of the run's
dtype, are not loaded a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError
from bench.models.checkpoint_folders import check_split_adapters
from bench.models.loading import check_config, dtypes
from bench.models.single_file import FileParts, canonical, parts_of_file
from bench.models.weight_files import WeightFiles, weight_files

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PARAMETERISATION: dict[str, Any] = {
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
}
"""What a network was trained for, with the defaults of diffusers' schedulers; the rest is a choice of sampling."""
_FLOW = "flow matching"
# Of a part's configuration these decide what it computes and may be absent, with these defaults.
_DECISIVE = {"scaling_factor": 0.18215, "shift_factor": None, "latents_mean": None, "latents_std": None}
# Written by the libraries, and no part of the network.
_INCIDENTAL = ("_", "torch_dtype", "dtype", "transformers_version", "architectures", "sample_size")
_VOCABULARY = ("vocab.json", "merges.txt", "spiece.model", "added_tokens.json", "chat_template.jinja")


def own_parts(path: Path, base_folder: Path, parts: Mapping[str, str], dtype: str) -> tuple[str, ...]:
    """Names of the text encoders and the autoencoder that the checkpoint brings and that are not the base model's.

    `parts` are the family's (folder -> class). Reads the tensors of both, one after the other, and only where the
    files differ. Raises MissingError for damaged files.
    """
    names = [name for name in parts if "text_encoder" in name or name == "vae"]
    if path.is_file():
        found = parts_of_file(path, names, base_folder)
        return tuple(name for name in names if name in found.parts and _file_differs(found, name, base_folder, dtype))
    check_split_adapters(path)
    return tuple(name for name in names if (path / name).is_dir() and _folder_differs(path, name, base_folder, dtype))


def check_parameterisation(path: Path, base_folder: Path, options: Mapping[str, Any]) -> None:
    """MissingError, naming the setting, for a pipeline that was trained for another parameterisation than the base.

    A network does not say whether it predicts noise, velocity or flow, nor for which noise schedule: only the
    scheduler of its pipeline does. What the suite's `sampler.options` say is accepted as well.
    """
    file = path / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        return
    own = _settings(check_config(file.parent, file.name))
    base_config = check_config(base_folder / "scheduler", "scheduler_config.json")
    base, chosen = _settings(base_config), _settings({**base_config, **options})
    for name, value in own.items():
        if value not in (base[name], chosen[name]):
            raise MissingError(
                f"{path} was trained with {name} = {_toml(value)}, but the suite's model has {name} = "
                f"{_toml(chosen[name])}: both would be sampled by one scheduler, and one of them wrongly. Take a "
                "checkpoint with the parameterisation of the base model, or its own base model."
            )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameterisation that a scheduler's configuration means; noise schedules of flow matching are plain time."""
    flow = "FlowMatch" in str(config.get("_class_name")) or config.get("prediction_type") == "flow_prediction"
    if flow or config.get("use_flow_sigmas"):
        return {**dict.fromkeys(_PARAMETERISATION), "prediction_type": _FLOW}
    return {name: config.get(name, default) for name, default in _PARAMETERISATION.items()}


def _toml(value: Any) -> str:
    return json.dumps(value)


def _folder_differs(path: Path, name: str, base_folder: Path, dtype: str) -> bool:
    if not (base_folder / name).is_dir() or (path / name).resolve() == (base_folder / name).resolve():
        return not (base_folder / name).is_dir()
    ours, theirs = check_config(base_folder / name), check_config(path / name)
    if _configs_differ(ours, theirs) or _vocabularies_differ(path, name, base_folder):
        return True
    mine, base = weight_files(path / name), weight_files(base_folder / name)
    return mine.digests() != base.digests() and _tensors_differ(mine.keys(), mine.read, base, dtypes()[dtype])


def _file_differs(found: FileParts, name: str, base_folder: Path, dtype: str) -> bool:
    if not (base_folder / name).is_dir():
        return True
    tensors = found.tensors(name)
    return _tensors_differ(set(tensors), tensors.__getitem__, weight_files(base_folder / name), dtypes()[dtype])


def _configs_differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    both = {key for key in a.keys() & b.keys() if not key.startswith(_INCIDENTAL)}
    first, second = ({key: one.get(key, default) for key, default in _DECISIVE.items()} for one in (a, b))
    return first != second or any(a[key] != b[key] for key in both if key not in _DECISIVE)


def _vocabularies_differ(path: Path, name: str, base_folder: Path) -> bool:
    tokenizer = name.replace("text_encoder", "tokenizer")
    pairs = [(path / tokenizer / file, base_folder / tokenizer / file) for file in _VOCABULARY]
    return any(a.is_file() and b.is_file() and _words(a) != _words(b) for a, b in pairs)


def _words(file: Path) -> Any:
    content = file.read_bytes()
    try:
        return json.loads(content) if file.suffix == ".json" else content.split(b"\n")
    except (ValueError, RecursionError):
        return content


def _tensors_differ(keys: set[str], read: Callable[[str], Tensor], base: WeightFiles, dtype: torch.dtype) -> bool:
    """Whether any tensor differs after the cast to the run's dtype; index buffers of old files aside."""
    import torch

    mine, others = ({canonical(key): key for key in some} for some in (keys, base.keys()))
    if {key for key in mine.keys() ^ others.keys() if not key.endswith("position_ids")}:
        return True
    for key in sorted(mine.keys() & others.keys()):
        a, b = read(mine[key]), base.read(others[key])
        if a.shape != b.shape or not torch.equal(_cast(a, dtype), _cast(b, dtype)):
            return True
    return False


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value
