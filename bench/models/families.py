"""Which family a pipeline folder, a network's configuration or a checkpoint's keys belong to. Reads no tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.registry.families import ROWS

TITLES = {row.name: row.title for row in ROWS}
_PIPELINES = {pipeline: row.name for row in ROWS for pipeline in row.pipelines}
_NETWORKS = {network: row.name for row in ROWS for network in row.networks}
_UNET_MARKS = ("down_blocks_", "up_blocks_", "mid_block_", "input_blocks_", "output_blocks_", "middle_block_")
NETWORK_FOLDERS = {
    "unet": ("unet", "original_unet"),
    "transformer": ("transformer", "original_transformer"),
}
"""Folders of a pipeline that hold its base network, by the network's part name (ControlGenAI/ImageReFL_* has both)."""
TUNED_FOLDERS = {
    "unet": ("fine_tuned_unet", "unet"),
    "transformer": ("fine_tuned_transformer", "transformer"),
}
"""Folders of a pipeline that hold its tuned network, the better first."""


def part_of(network: Any) -> str:
    """ "unet" or "transformer": how diffusers calls this network in a pipeline."""
    return "unet" if type(network).__name__.startswith("UNet") else "transformer"


def part_of_names(name: str) -> str:
    """ "unet" or "transformer": which kind of network has a layer of this name, in any layout."""
    flat = name.replace(".", "_")
    return "unet" if any(mark in flat for mark in _UNET_MARKS) else "transformer"


def family_of_config(config: Mapping[str, Any]) -> str | None:
    """The family of a network from its config.json; None if it is of none that is known."""
    name = str(config.get("_class_name"))
    # One class may be the network of several families, told apart by what conditions it beside the text.
    return _NETWORKS.get(f"{name}/{config.get('addition_embed_type')}") or _NETWORKS.get(name)


def family_of_keys(keys: Iterable[str]) -> str | None:
    """The family of a checkpoint from the names of its tensors; None if nothing tells."""
    names = list(keys)
    found = [row.name for row in ROWS if any(mark in name for name in names for mark in row.marks)]
    return found[-1] if found else None


def family_of_index(index: Mapping[str, Any]) -> str | None:
    """The family of a pipeline from its model_index.json; a pipeline of somebody's own code tells nothing."""
    return _PIPELINES.get(str(index.get("_class_name")))


def base_folder(folder: Path, part: str) -> Path:
    """The subfolder with the base network: "unet", or "original_unet" of the two-network layout."""
    names = NETWORK_FOLDERS[part]
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])
