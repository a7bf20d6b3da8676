"""CLIP's image side: the named backbones, and an encoder of the vision tower that several metrics share."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from metrics.errors import MetricError, MissingWeightsError
from metrics.networks.clip_config import read_clip_config
from metrics.networks.clip_preprocessor import PREPROCESSOR_FILES, Scale, read_scale
from metrics.networks.hf_folder import load_folder, weight_files
from metrics.networks.preprocess import PASSES, Crop, normalise, resize_crop, to_unit
from metrics.types import Facts, Request
from metrics.weights.state_dict import read_json, sha256

# Of a repository with several copies of its weights only transformers' own are fetched.
CLIP_FILES = ("config.json", *PREPROCESSOR_FILES, "model*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Backbone:
    """A published CLIP: its title, its hub id, and what its vision config must say."""

    title: str
    weights: str
    image_size: int
    patch_size: int
    hidden_size: int
    num_hidden_layers: int

    def fits(self, vision: Mapping[str, Any]) -> bool:
        """Whether a vision config (config.json's `vision_config`) is of this architecture."""
        names = ("image_size", "patch_size", "hidden_size", "num_hidden_layers")
        return all(vision.get(name, _DEFAULTS[name]) == getattr(self, name) for name in names)


# transformers leaves values out of config.json that are its defaults: those of ViT-B/32.
_DEFAULTS = {"image_size": 224, "patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12}
BACKBONES = {
    "vit-l-14": Backbone("ViT-L/14", "openai/clip-vit-large-patch14", 224, 14, 1024, 24),
    "vit-b-32": Backbone("ViT-B/32", "openai/clip-vit-base-patch32", 224, 32, 768, 12),
    "vit-b-16": Backbone("ViT-B/16", "openai/clip-vit-base-patch16", 224, 16, 768, 12),
    "vit-h-14-laion2b": Backbone("ViT-H/14 LAION-2B", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 224, 14, 1280, 32),
}
DEFAULT = "vit-l-14"


def backbone_of(name: object, metric: str) -> Backbone:
    """A backbone by name; MetricError (one sentence) for an unknown one."""
    if isinstance(name, str) and name in BACKBONES:
        return BACKBONES[name]
    raise MetricError(f"{metric}: backbone {name!r} is not one of {', '.join(BACKBONES)}")


def with_backbone(facts: Facts, name: object) -> Facts:
    """The facts with the source of the named backbone. MetricError for an unknown name."""
    return replace(facts, weights=backbone_of(name, facts.name).weights)


def identify(facts: Facts, request: Request, name: str, folder: Path) -> tuple[Facts, str]:
    """The facts with the source that belongs to a folder, and the title of its backbone ("" for an unknown one).

    Given weights are told by their config.json. MissingWeightsError where a backbone other than the default was asked
    for and they are of another architecture: their values would stand under a wrong name.
    """
    asked = BACKBONES[name]
    if request.weights is None:
        return facts, asked.title
    vision = read_json(folder / "config.json", facts.title).get("vision_config")
    found = next((one for one in BACKBONES.values() if isinstance(vision, dict) and one.fits(vision)), None)
    if name != DEFAULT and found is not asked:
        raise MissingWeightsError(
            f"{facts.title}: '{folder}' is not a {asked.title} (its config.json has other sizes): omit the option "
            f"backbone, or give the weights of {asked.weights}"
        )
    return (replace(facts, weights=found.weights), found.title) if found else (facts, "")


def image_settings(config: Any, scale: Scale) -> dict[str, Any]:
    """What decides CLIP's image features, for the card, from a CLIPConfig and what the pixels are normalised by."""
    vision = config.vision_config
    return {
        "network": f"CLIP, {vision.num_hidden_layers} layers of {vision.hidden_size}, patch {vision.patch_size}, "
        f"{vision.hidden_act}, projected to {config.projection_dim}",
        "resize": "PIL bicubic, shortest side",
        "passes": PASSES,
        "antialias": True,
        "crop": Crop.DOWN.value,
        "image_size": int(vision.image_size),
        "mean": list(scale.mean),
        "deviation": list(scale.deviation),
        "colour": "RGB before the resize",
    }


class ClipImageEncoder:
    """Projected image embeddings of a CLIP vision tower, as they are (not normalised)."""

    def __init__(self, model: Any, settings: dict[str, Any], scale: Scale) -> None:
        self.model = model
        self.settings = settings
        self.scale = scale
        self.size = int(settings["image_size"])
        self.width = int(model.visual_projection.out_features)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]: PIL bicubic shortest side, centre crop, mean and deviation of the folder."""
        return self.normalise(to_unit(resize_crop(image, self.size, crop=Crop.DOWN)))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels [..., 3, H, W] in [0, 1] by the folder's mean and deviation (CLIP's, where it names none)."""
        return normalise(pixels, self.scale.mean, self.scale.deviation)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> projected embeddings, float32 [B, D]."""
        embeddings: Tensor = self.model(pixel_values=inputs.to(self.model.dtype)).image_embeds
        return embeddings.float()


_loaded: weakref.WeakValueDictionary[tuple[Any, ...], ClipImageEncoder] = weakref.WeakValueDictionary()
# The text tower and the scale are not needed; position_ids are buffers that transformers 4 saved.
_DROP = (r"text_model\..*", r"text_projection\..*", r"logit_scale", r"vision_model\.embeddings\.position_ids")


def load_clip_images(folder: Path, what: str, device: torch.device, dtype: str) -> ClipImageEncoder:
    """The image encoder of a CLIPModel folder; metrics with the same weights, device and dtype share one network."""
    from transformers import CLIPVisionModelWithProjection

    config = read_clip_config(folder, what)
    vision = config.vision_config
    scale = read_scale(folder, int(vision.image_size), what)
    key = (*(sha256(item) for item in weight_files(folder, what)), scale, str(device), dtype)
    found = _loaded.get(key)
    if found is not None:
        return found
    vision.projection_dim = config.projection_dim  # a saved vision_config may hold its class's default instead
    model = load_folder(CLIPVisionModelWithProjection, folder, what, drop=_DROP, config=vision)
    settings = image_settings(config, scale)
    encoder = ClipImageEncoder(model.to(device=device, dtype=getattr(torch, dtype)), settings, scale)
    _loaded[key] = encoder
    return encoder
