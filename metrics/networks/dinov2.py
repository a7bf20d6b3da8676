"""DINOv2 ViT (Oquab et al. 2023, arXiv 2304.07193) as an image encoder: the CLS token after the final norm.

RGB, PIL bicubic squash to 224 pixels (16 x 16 patches), ImageNet mean and deviation. The checkpoint's 37 x 37 position
embeddings are shrunk as DINOv2's own code does it: bicubic by the factor (16 + 0.1) / 37, where transformers would
resize to 16 x 16, which samples them at other places.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from metrics.errors import MissingWeightsError
from metrics.networks.hf_folder import load_folder, weight_files
from metrics.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, PASSES, normalise, squash, to_unit
from metrics.weights.state_dict import sha256

GRID = 16  # patches along a side: 224 pixels of 14
OFFSET = 0.1  # DINOv2's own, against rounding


def shrink_positions(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings [1, 1 + M^2, D] -> [1, 1 + grid^2, D], as DINOv2's code makes them; equal sizes stay."""
    before = round((positions.shape[1] - 1) ** 0.5)
    if before == grid:
        return positions
    patches = positions[:, 1:].float().reshape(1, before, before, -1).permute(0, 3, 1, 2)
    factor = (grid + OFFSET) / before
    small = functional.interpolate(patches, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], small.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)], dim=1)


class Dinov2Encoder:
    """CLS token after the final norm of a transformers Dinov2Model."""

    def __init__(self, model: Any, settings: dict[str, Any]) -> None:
        self.model = model
        self.settings = settings
        self.size = int(settings["image_size"])
        self.width = int(model.config.hidden_size)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]: PIL bicubic squash, ImageNet mean and deviation."""
        return normalise(to_unit(squash(image, self.size)), IMAGENET_MEAN, IMAGENET_STD)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> CLS tokens, float32 [B, D]."""
        tokens: Tensor = self.model(pixel_values=inputs.to(self.model.dtype)).last_hidden_state
        return tokens[:, 0].float()


_loaded: weakref.WeakValueDictionary[tuple[Any, ...], Dinov2Encoder] = weakref.WeakValueDictionary()


def load_dinov2(folder: Path, what: str, device: torch.device, dtype: str) -> Dinov2Encoder:
    """The encoder of a Dinov2Model folder; metrics with the same weights, device and dtype share one network."""
    from transformers import Dinov2Model

    key = (*(sha256(item) for item in weight_files(folder, what)), str(device), dtype)
    found = _loaded.get(key)
    if found is not None:
        return found
    model = load_folder(Dinov2Model, folder, what)
    patch = model.config.patch_size
    if not isinstance(patch, int):
        raise MissingWeightsError(f"{what}: '{folder}' has patches of {patch} pixels, which are not square")
    embeddings = model.embeddings
    embeddings.position_embeddings = nn.Parameter(shrink_positions(embeddings.position_embeddings, GRID), False)
    settings = {
        "network": f"DINOv2, {model.config.num_hidden_layers} layers of {model.config.hidden_size}, patch {patch}",
        "features": int(model.config.hidden_size),
        "feature": "CLS after the final norm",
        "resize": "PIL bicubic, squash",
        "passes": PASSES,
        "antialias": True,
        "crop": "none",
        "image_size": GRID * patch,
        "mean": list(IMAGENET_MEAN),
        "deviation": list(IMAGENET_STD),
        "colour": "RGB before the resize",
        "positions": f"bicubic by (grid + {OFFSET}) / M, as DINOv2's code",
    }
    encoder = Dinov2Encoder(model.to(device=device, dtype=getattr(torch, dtype)), settings)
    _loaded[key] = encoder
    return encoder
