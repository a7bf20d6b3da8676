"""CMMD (Jayasumana et al. 2024, arXiv 2401.09603): squared MMD of CLIP image embeddings with a Gaussian kernel.

As the original code computes it: kernel exp(-|x - y|^2 / (2 * 10^2)) on L2-normalised embeddings of CLIP ViT-L/14 at
336 pixels, the biased (minimum-variance) estimator, which counts each image with itself, times 1000. Images are cut
to their central square and then resized by PIL's bicubic, the reverse of CLIP's own order. Here in float64.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.kinds import make_card, pick_device
from metrics.networks.clip_image import CLIP_FILES, ClipImageEncoder, load_clip_images
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.preprocess import squash, to_unit
from metrics.set.kinds import EncoderSetMetric, KernelMetric
from metrics.set.moments import Array, Features
from metrics.types import Facts, Request

SIGMA = 10.0
SCALE = 1000.0
_BLOCK = 2048
_WORST_BIAS = SCALE * (1.0 - math.exp(-4.0 / (2.0 * SIGMA**2)))  # of one side, times n: |x - y|^2 <= 4 on the sphere
_MUCH = 0.05  # in CMMD's unit: a bias that is worth a warning


def _mean_kernel(a: Array, b: Array) -> float:
    """Mean of the kernel over all pairs of rows [N, D] and [M, D], pairs with itself included, in blocks."""
    total, squares = 0.0, (b * b).sum(axis=1)
    for start in range(0, len(a), _BLOCK):
        part = a[start : start + _BLOCK]
        squared_distances = (part * part).sum(axis=1)[:, None] + squares[None, :] - 2.0 * (part @ b.T)
        total += float(np.exp(-np.maximum(squared_distances, 0.0) / (2.0 * SIGMA**2)).sum())
    return total / (len(a) * len(b))


def cmmd(a: Array, b: Array) -> float:
    """CMMD of embeddings [N, D] and [M, D] (biased estimator, times 1000); NaN for fewer than 2 rows."""
    if len(a) < 2 or len(b) < 2:
        return math.nan
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return SCALE * (_mean_kernel(a, a) + _mean_kernel(b, b) - 2.0 * _mean_kernel(a, b))


class _Encoder:
    """CLIP's encoder behind the original code's preprocessing."""

    def __init__(self, clip: ClipImageEncoder) -> None:
        self.clip = clip
        self.settings: dict[str, Any] = {
            **clip.settings,
            "resize": "PIL bicubic of the central square",
            "crop": "centre, to the shorter side, before the resize",
            "embedding": "projected, L2-normalised",
        }

    def prepare(self, image: Image.Image) -> Tensor:
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        return self.clip.normalise(to_unit(squash(square, self.clip.size)))

    def encode(self, inputs: Tensor) -> Tensor:
        return functional.normalize(self.clip.encode(inputs), dim=-1)


class CMMD(EncoderSetMetric[Features], KernelMetric):
    """1000 x squared MMD of two sets of images; near 0 for equal distributions, lower is nearer."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers CLIPModel folder."""
        device = pick_device(request.device)
        folder = folder_of(facts, request, CLIP_FILES)
        clip = load_clip_images(folder, facts.title, device, request.dtype)
        encoder = _Encoder(clip)
        settings = {
            **encoder.settings,
            "kernel": f"exp(-|x - y|^2 / (2 * {SIGMA:g}^2))",
            "estimator": "biased (minimum variance): pairs of an image with itself count",
            "scale": SCALE,
            "statistics": "float64",
        }
        card = make_card(facts, request, weight_files(folder, facts.title), settings)
        return cls(card, device, encoder, clip.width)

    def discrepancy(self, a: Array, b: Array) -> float:
        """CMMD of embeddings [N, D] and [M, D]; NaN for fewer than two rows."""
        return cmmd(a, b)

    def _few(self, n: int, what: str) -> list[str]:
        most = _WORST_BIAS / max(n, 1)
        if most < _MUCH:
            return []
        return [f"{self.card.facts.title} with {n:,} {what} is up to {most:.2g} too high for that (biased estimator)"]
