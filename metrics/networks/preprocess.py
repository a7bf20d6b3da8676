"""Resizing, cropping and normalising, on PIL images (scoring) and on tensors (reward training).

PIL images are resized by PIL, never through a tensor: torchvision's uint8 tensor resize moves scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.errors import BadInputError
from metrics.images import MAX_PIXELS

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Bytes are rounded between the passes, so that their order moves values: up to Pillow 12 the horizontal one is first,
# from 13 on the vertical one where it shrinks the image more (github.com/python-pillow/Pillow/pull/9549).
PASSES = "horizontal first, as in Pillow up to 12"


class Crop(StrEnum):
    """Where the central crop begins when an odd number of pixels is cut off (of 119: at 60 or at 59)."""

    EVEN = "centre, offsets rounded half to even"  # torchvision's CenterCrop
    DOWN = "centre, offsets rounded down"  # the image processors of transformers


def to_unit(image: Image.Image) -> Tensor:
    """An RGB image as float32 [3, H, W] in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8, copy=True))
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def to_bytes(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image, dtype=np.uint8, copy=True)).permute(2, 0, 1).contiguous()


def normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixels - mean) / std for each channel; pixels [..., 3, H, W]."""
    shift = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device).view(3, 1, 1)
    scale = torch.tensor(std, dtype=pixels.dtype, device=pixels.device).view(3, 1, 1)
    return (pixels - shift) / scale


def shortest_side(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the shorter side `size` and the other side cut to whole pixels, as torchvision does."""
    short, long = min(width, height), max(width, height)
    other = int(size * long / short)
    if size * other > MAX_PIXELS:
        raise BadInputError(f"an image of {width} x {height} pixels is too narrow to be resized to {size}: crop it")
    return (size, other) if width <= height else (other, size)


def _resize(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """`image.resize`, always the horizontal pass first, whatever the installed Pillow does (see PASSES)."""
    if image.mode in ("1", "P"):  # PIL takes the nearest pixel here, in which the order plays no part
        return image.resize(size, resample)
    if image.mode in ("LA", "RGBA"):  # premultiplied once around both passes, as `image.resize` does
        inner = image.convert({"LA": "La", "RGBA": "RGBa"}[image.mode])
        return _resize(inner, size, resample).convert(image.mode)
    return image.resize((size[0], image.height), resample).resize(size, resample)


def _centre(width: int, height: int, size: int, crop: Crop) -> tuple[int, int]:
    """Left and top of the central crop."""
    if crop is Crop.DOWN:
        return (width - size) // 2, (height - size) // 2
    return round((width - size) / 2.0), round((height - size) / 2.0)


def resize_crop(
    image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC, crop: Crop = Crop.EVEN
) -> Image.Image:
    """Resize the shorter side to `size`, then crop the centre to `size` x `size`; in the image's own mode."""
    target = shortest_side(*image.size, size)
    if target != image.size:
        image = _resize(image, target, resample)
    left, top = _centre(*image.size, size, crop)
    return image.crop((left, top, left + size, top + size))


def squash(image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """Resize to `size` x `size` whatever the shape."""
    return image if image.size == (size, size) else _resize(image, (size, size), resample)


def _resize_tensor(pixels: Tensor, height: int, width: int, antialias: bool) -> Tensor:
    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    return functional.interpolate(
        pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=antialias
    )


def resize_crop_tensor(pixels: Tensor, size: int, crop: Crop = Crop.EVEN) -> Tensor:
    """`resize_crop` for float pixels [N, 3, H, W] in [0, 1], differentiable: antialiased, clamped as PIL does."""
    height, width = pixels.shape[-2:]
    new_width, new_height = shortest_side(width, height, size)
    if (new_height, new_width) != (height, width):
        pixels = _resize_tensor(pixels, new_height, new_width, antialias=True).clamp(0.0, 1.0)
    return crop_centre(pixels, size, crop)


def crop_centre(pixels: Tensor, size: int, crop: Crop = Crop.EVEN) -> Tensor:
    """The centre [..., S, S] of pixels [..., H, W]."""
    left, top = _centre(pixels.shape[-1], pixels.shape[-2], size, crop)
    return pixels[..., top : top + size, left : left + size]


def resize_pad_tensor(pixels: Tensor, size: int, antialias: bool) -> Tensor:
    """HPSv2's geometry on float pixels [N, 3, H, W]: longest side to `size`, then zeros to a square.

    The result is not clamped, and the zeros come before normalisation, as in the official code. Images that are
    already `size` long are padded too (the official code skips that and then fails on non-square ones).
    """
    height, width = pixels.shape[-2:]
    scale = size / float(max(height, width))
    if scale != 1.0:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        pixels = _resize_tensor(pixels, height, width, antialias)
    top, left = (size - height) // 2, (size - width) // 2
    return functional.pad(pixels, (left, size - width - left, top, size - height - top), value=0.0)
