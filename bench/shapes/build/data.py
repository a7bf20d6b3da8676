"""Endless pictures of the world as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import normalize

from bench.shapes.world import Scene, random_scene, render

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def pictures(count: int, rng: np.random.Generator) -> tuple[list[Scene], Tensor]:
    """Draw scenes and their pictures: uint8 [count, 3, 64, 64]."""
    scenes = [random_scene(rng) for _ in range(count)]
    return scenes, to_tensor([render(scene) for scene in scenes])


def to_tensor(images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> Tensor:
    """Stack uint8 [64, 64, 3] arrays as uint8 [N, 3, 64, 64]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def to_signed(images: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1], the range of the autoencoder."""
    return images.float() / 127.5 - 1.0


def normalised(images: Tensor) -> Tensor:
    """uint8 [N, 3, 64, 64] -> float32 with CLIP's mean and deviation, the input of the three scorers."""
    return torch.as_tensor(normalize(images.float() / 255.0, CLIP_MEAN, CLIP_STD))
