"""How the evaluation code of ImageReFL (github.com/ControlGenAI/ImageReFL at 398f730) measures, step by step.

- All rewards see one tensor: the decoded picture in bfloat16, its shorter side resized (torchvision's bicubic, not
  clamped, `antialias` not named: on since torchvision 0.17, off before), the centre cropped, CLIP's mean and deviation.
  Each original has its own preprocessing instead.
- Everything runs under bfloat16 autocast, products of features included: near 0.28 a cosine has steps of 0.002, near 21
  a PickScore of 0.125.
- What is logged is one number: the plain mean over batches of the mean of each batch, so that images of a smaller last
  batch count for more. The diversity of a batch is over 5 consecutive images each, whatever their prompts are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metrics.errors import MetricError
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD, Crop, crop_centre, shortest_side
from metrics.types import Facts, Request

BATCH = 30
"""Images in a batch of combined_inference.yaml (dataloader inference_refl_fid)."""
GROUP = 5
"""Consecutive images that are taken for those of one prompt (images_per_batch of all_rewards.yaml)."""
SETTINGS: dict[str, Any] = {
    "resize": "torch bicubic on bfloat16 pixels, shortest side, not clamped",
    "crop": Crop.EVEN.value,
    "mean": list(CLIP_MEAN),
    "deviation": list(CLIP_STD),
    "colour": "RGB before the resize",
    "autocast": "bfloat16",
    "protocol": "github.com/ControlGenAI/ImageReFL at 398f730",
}
OPTION_HELP = {
    "antialias": "of the shared resize, which the official code does not name: on as torchvision does since 0.17, off "
    "as before",
    "batch": "images in a batch of the one number that the official code logs; 30 in its combined_inference.yaml",
}


def switches(facts: Facts, request: Request) -> tuple[bool, int]:
    """The options `antialias` and `batch`. MetricError for a batch below 1, or another dtype than the default."""
    if request.dtype != "float32":
        raise MetricError(f"{facts.name}: the official protocol chooses the precision itself: leave dtype='float32'")
    batch = request.options.get("batch")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise MetricError(f"{facts.name}: batch = {batch!r} must be an integer of at least 1")
    return bool(request.options["antialias"]), batch


def shared_inputs(pixels: Tensor, size: int, *, antialias: bool) -> Tensor:
    """Float pixels [N, 3, H, W] in [0, 1] -> the one input of all rewards [N, 3, S, S], float32 of bfloat16 steps."""
    coarse = pixels.to(torch.bfloat16).to(torch.float32)
    height, width = coarse.shape[-2:]
    new_width, new_height = shortest_side(width, height, size)
    if (new_height, new_width) != (height, width):
        target = (new_height, new_width)
        coarse = functional.interpolate(coarse, target, mode="bicubic", align_corners=False, antialias=antialias)
    cut = crop_centre(coarse.to(torch.bfloat16), size)
    mean, deviation = (torch.tensor(one, dtype=cut.dtype, device=cut.device) for one in (CLIP_MEAN, CLIP_STD))
    return ((cut - mean[:, None, None]) / deviation[:, None, None]).to(torch.float32)


def coarse_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Products of rows [N, D] as a bfloat16 matrix product gives them: sums in float32, rounded once; float32 [N]."""
    product = (a.to(torch.bfloat16).float() * b.to(torch.bfloat16).float()).sum(dim=-1)
    return product.to(torch.bfloat16).float()


def coarse_distances(rows: Tensor) -> Tensor:
    """1 - cosine of L2-normalised rows [K, D], the cosine rounded to bfloat16; float32 [K, K] with a zero diagonal."""
    near = rows.to(torch.bfloat16).float()
    distances = 1.0 - (near @ near.T).to(torch.bfloat16).float()
    return distances.fill_diagonal_(0.0)


@dataclass(frozen=True, slots=True)
class Logged:
    """The one number that the official code logs of all values, and how it came about, as a clause."""

    value: float
    how: str


def logged_mean(values: Tensor, batch: int = BATCH) -> Logged:
    """Of the values of all images [N] in the order of the prompts: batch means in bfloat16, averaged unweighted.

    >>> import torch
    >>> logged_mean(torch.tensor([1.0, 1.0, 1.0, 5.0]), batch=3).value
    3.0
    """
    parts = values.split(batch)
    means = [float(part.to(torch.bfloat16).float().mean().to(torch.bfloat16)) for part in parts]
    return Logged(sum(means) / len(means) if means else math.nan, _batches(len(values), batch))


def logged_diversity(rows: Tensor, samples: int, batch: int = BATCH, group: int = GROUP) -> Logged:
    """Of the L2-normalised features of all images [N, D], `samples` of each prompt together: positional groups."""
    means, mixed, count = [], 0, 0
    for start in range(0, len(rows), batch):
        scores = []
        for first in range(start, min(start + batch, len(rows)), group):
            last = min(first + group, start + batch, len(rows))
            count += 1
            mixed += first // samples != (last - 1) // samples
            scores.append(_mean_of_pairs(coarse_distances(rows[first:last])))
        means.append(sum(scores) / len(scores))
    told = f"{_batches(len(rows), batch)}, in groups of {group} consecutive images, {mixed} of {count} mix prompts"
    return Logged(sum(means) / len(means) if means else math.nan, told)


def _mean_of_pairs(distances: Tensor) -> float:
    """NaN for one image, as the mean of nothing is in the official code."""
    size = len(distances)
    upper = distances.double()[torch.triu_indices(size, size, 1).unbind()]
    return float(upper.mean()) if size > 1 else math.nan


def _batches(images: int, batch: int) -> str:
    full, rest = divmod(images, batch)
    if not full:
        return f"the mean of 1 batch of {images}"
    last = f", the last of {rest}" if rest else ""
    return f"the plain mean of {full + bool(rest)} batches of {batch}{last}"
