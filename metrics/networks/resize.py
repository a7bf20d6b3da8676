"""How an image becomes the square that a feature network takes: the conventions of published FID implementations.

Each gives float pixels [3, S, S] in 0..255. They differ by far more than rounding, so the convention is part of the
metric's name. torch-fidelity's own (TensorFlow 1's bilinear) is inside its network and not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.networks.preprocess import squash, to_bytes


def clean(image: Image.Image, size: int) -> Tensor:
    """clean-fid's mode "clean": each channel as floats by PIL's antialiased bicubic, clipped, not rounded."""
    pixels = np.asarray(image, dtype=np.float32)
    channels = [Image.fromarray(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)]
    resized = [np.array(channel.resize((size, size), Image.Resampling.BICUBIC)) for channel in channels]
    return torch.from_numpy(np.stack(resized)).clamp(0.0, 255.0)


def antialiased(image: Image.Image, size: int) -> Tensor:
    """torchmetrics 1.9's default: torch's antialiased bilinear on the float tensor."""
    pixels = to_bytes(image).float()[None]
    return functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]


def bilinear(image: Image.Image, size: int) -> Tensor:
    """PIL's antialiased bilinear on bytes: what stands in for torch-fidelity's where the network is a small one."""
    return to_bytes(squash(image, size, Image.Resampling.BILINEAR)).float()


@dataclass(frozen=True, slots=True)
class Convention:
    """A resize with what the card says about it."""

    resize: Callable[[Image.Image, int], Tensor]
    settings: Mapping[str, Any]


CLEAN = Convention(
    clean, {"resize": "clean-fid's clean: PIL bicubic per float channel, squash, not rounded", "antialias": True}
)
ANTIALIASED = Convention(
    antialiased, {"resize": "torchmetrics 1.9's default: torch bilinear on floats, squash", "antialias": True}
)
BILINEAR = Convention(bilinear, {"resize": "PIL bilinear, squash", "antialias": True})
