"""Which family a pipeline folder, a network's configuration or a checkpoint's keys belong to. Reads no tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TITLES = {
    "sd": "Stable Diffusion 1.x/2.x",
    "sdxl": "Stable Diffusion XL",
    "pixart": "PixArt",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX",
}
_PIPELINES = {
    "StableDiffusionPipeline": "sd",
    # Other uses of the same weights.
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionPAGPipeline": "sd",
    "LatentConsistencyModelPipeline": "sd",
    "StableDiffusionXLPAGPipeline": "sdxl",
    "PixArtSigmaPAGPipeline": "pixart",
    "StableDiffusion3PAGPipeline": "sd3",
    "StableDiffusionXLPipeline": "sdxl",
    "PixArtAlphaPipeline": "pixart",
    "PixArtSigmaPipeline": "pixart",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
}
_NETWORKS = {
    "PixArtTransformer2DModel": "pixart",
    "Transformer2DModel": "pixart",  # the name in older PixArt repositories
    "SD3Transformer2DModel": "sd3",
    "FluxTransformer2DModel": "flux",
}
# What only one family's keys have, in diffusers' and in the original layout; the first that is found decides.
_MARKS = (
    ("flux", ("single_transformer_blocks.", "double_blocks.", "single_blocks.")),
    ("sd3", ("joint_blocks.", "attn.add_q_proj", "context_embedder.")),
    ("pixart", ("adaln_single.", "t_block.")),
    ("sdxl", ("add_embedding.linear_1", "label_emb.0.0")),
    ("sd", ("down_blocks.0.resnets", "input_blocks.1.0", "mid_block.resnets")),
)
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
    name = config.get("_class_name")
    if name == "UNet2DConditionModel":
        return "sdxl" if config.get("addition_embed_type") == "text_time" else "sd"
    return _NETWORKS.get(str(name))


def family_of_keys(keys: Iterable[str]) -> str | None:
    """The family of a checkpoint from the names of its tensors; None if nothing tells."""
    names = list(keys)
    for family, marks in _MARKS:
        if any(mark in name for name in names for mark in marks):
            return family
    return None


def family_of_index(index: Mapping[str, Any]) -> str | None:
    """The family of a pipeline from its model_index.json; a pipeline of somebody's own code tells nothing."""
    return _PIPELINES.get(str(index.get("_class_name")))


def base_folder(folder: Path, part: str) -> Path:
    """The subfolder with the base network: "unet", or "original_unet" of the two-network layout."""
    names = NETWORK_FOLDERS[part]
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])
