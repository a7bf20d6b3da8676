"""Which checkpoint a folder holds: published ones, and folders as trainers leave them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.models.families import TITLES, TUNED_FOLDERS, family_of_config, part_of
from bench.models.loading import check_config, first_few
from bench.models.peft_files import LORA_FILES
from bench.models.recognise import families_read, pipeline_of, what_config, what_unreadable
from bench.models.weight_files import weight_files
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

_STEP = re.compile(r"(checkpoint|step|epoch|iter)[-_]?\w*\d+", re.IGNORECASE)
_LORA = "lora"
"""Where Flow-GRPO and others put the adapter of a checkpoint."""
_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
_NOTHING = "contains no network: no config.json, no .safetensors file"


def find_checkpoint(folder: Path, base: Any) -> Path | None:
    """The network's folder or the safetensors file in a checkpoint's folder; None where it tunes text encoders alone.

    Raises MissingError: of another model, several that might be meant (they are named), or none.
    """
    part = part_of(base)
    check_split_adapters(folder)
    adapter = _adapter(folder)
    network = next((folder / name for name in TUNED_FOLDERS[part] if (folder / name).is_dir()), None)
    if adapter is not None and adapter.parent != folder and network is not None:
        raise MissingError(
            f"{folder} contains a network in {network.name} and a LoRA in {_LORA}: give the path of one of them"
        )
    if found := adapter or network:
        _tell_of_average(folder, found, part)
        return found
    average = folder / f"{part}_ema"
    if average.is_dir():
        logger.warning(f"{folder} contains only averaged weights ({average.name}); using them", extra=ONCE)
        return average
    if (folder / "config.json").is_file() or weight_files(folder).stem:
        return folder
    _refuse_other_parts(folder, base)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        names = first_few(file.name for file in files)
        raise MissingError(f"{folder} contains several checkpoints ({names}): give the path of one of them")
    if files:
        return files[0]
    if any((folder / name).is_dir() for name in ("text_encoder", "text_encoder_2", "text_encoder_3")):
        return None
    return _among_steps(folder, base)


def _adapter(folder: Path) -> Path | None:
    """The file of a LoRA in the folder, or in its subfolder `lora`."""
    indices = [folder / name for name in LORA_FILES]
    indices += [folder / _LORA / name for name in LORA_FILES]
    found = [index for index in indices if index.is_file()]
    if len(found) > 1 and not (found[0].parent / "training.json").is_file():  # `bench train` writes one LoRA twice
        logger.warning(f"{folder} contains {found[0].name} and {found[1].name}; using {found[0].name}", extra=ONCE)
    return found[0] if found else None


def check_split_adapters(folder: Path) -> None:
    """MissingError for adapters of a pipeline's parts in folders of their own, as PEFT saves them one by one."""
    parts = sorted(file.parent for name in LORA_FILES for file in folder.glob(f"*/{name}"))
    parts = [one for one in parts if one.name in _PARTS and not (one / "config.json").is_file()]
    if not parts:
        return
    listed = " and ".join(one.name for one in parts)
    where = "folders of their own" if len(parts) > 1 else "a folder of its own"
    alone = [f"give {one} to use that of the {one.name} alone, or " for one in parts if "text" not in one.name]
    raise MissingError(
        f"{folder} contains {'adapters' if len(parts) > 1 else 'an adapter'} for {listed} in {where}: "
        f"{''.join(alone[:1])}save the pipeline's adapters into one file (save_lora_weights of diffusers)"
    )


def _tell_of_average(folder: Path, path: Path, part: str) -> None:
    average = folder / f"{part}_ema"
    if average.is_dir():
        logger.warning(
            f"{folder} also contains averaged weights; using {path.name} (give {average} to use those)", extra=ONCE
        )


def _refuse_other_parts(folder: Path, base: Any) -> None:
    """MissingError for the network of another kind of model than the suite's."""
    other = next((name for names in TUNED_FOLDERS.values() for name in names if (folder / name).is_dir()), None)
    if other is not None:
        raise of_another_model(folder, check_config(folder / other), base)
    if (folder / "model_index.json").is_file():
        what = pipeline_of(check_config(folder, "model_index.json"))
        raise MissingError(f"{folder} is {what} without a network for the suite's model; {families_read()}")


def _among_steps(folder: Path, base: Any) -> Path | None:
    """The one checkpoint of a trainer's output folder. Raises MissingError where there are several, or none."""
    if (folder / "checkpoints").is_dir():
        return find_checkpoint(folder / "checkpoints", base)
    steps = sorted((one for one in folder.iterdir() if one.is_dir() and _STEP.fullmatch(one.name)), key=_number)
    if len(steps) > 1:
        names = ", ".join(step.name for step in steps[:6]) + (f" and {len(steps) - 6} more" if len(steps) > 6 else "")
        raise MissingError(
            f"{folder} contains several checkpoints of a training run ({names}): give the path of one of them"
        )
    if steps:
        logger.warning(f"{folder} contains one checkpoint of a training run; using {steps[0].name}", extra=ONCE)
        return find_checkpoint(steps[0], base)
    raise MissingError(f"{folder} {_why_nothing(folder)}")


def _number(folder: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", folder.name)
    return (int(digits[-1]) if digits else 0, folder.name)


def _why_nothing(folder: Path) -> str:
    """What a folder without a network holds instead."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    names = {file.name for file in files}
    if "zero_to_fp32.py" in names or any("_model_states.pt" in name for name in names):
        return (
            "is a DeepSpeed ZeRO checkpoint (pickled, cut by process): write safetensors with the zero_to_fp32.py in "
            "it (--safe_serialization)"
        )
    if any(name.endswith(".distcp") for name in names):
        return (
            "is a sharded FSDP checkpoint (cut by process): merge it with `accelerate merge-weights`, which writes "
            "safetensors"
        )
    pickled = [file for file in files if file.suffix in (".bin", ".pt", ".pth", ".ckpt")]
    if pickled:
        return f"contains {pickled[0].relative_to(folder)}, {what_unreadable(pickled[0])}"
    inside = sorted({file.parent.relative_to(folder).as_posix() for file in files if file.suffix == ".safetensors"})
    if inside:
        return f"contains no network itself; there are weights in {first_few(inside)}: give the path of one of them"
    return _NOTHING


def of_another_model(path: Path, config: Mapping[str, Any], base: Any) -> MissingError:
    """The error for a network's configuration that is not of the suite's model."""
    found, own = family_of_config(config), family_of_config(config_of(base))
    needed = f"the suite's model needs a {type(base).__name__}" + (f" of {TITLES[own]}" if own else "")
    what = what_config(config) or "a network that its config.json does not name"
    if found:
        return MissingError(f"{path} contains {what}, but {needed}: use another checkpoint")
    kind = "is" if not what.startswith("a network of") else "contains"
    more = f"; {families_read()}" if kind == "contains" else ""
    return MissingError(f"{path} {kind} {what}, but {needed}{more}.")


def config_of(network: Any) -> dict[str, Any]:
    """A network's configuration as its config.json has it."""
    return {**network.config, "_class_name": type(network).__name__}
