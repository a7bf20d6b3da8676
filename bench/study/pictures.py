"""The pictures of a study: copies that carry nothing but what is to be judged.

A copy is decoded, fitted to the size that all methods share, changed in the last bit of one pixel in eight, and encoded
anew: no digest, neither of the file nor of its pixels, is that of the run's own picture, no metadata stays, and all
pictures of a study are padded to files of one length.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.errors import UsageError
from bench.store.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]
CHANGED = 1 / 8
"""Share of the pixels that differ from the run's picture, by one level of 255 in each channel."""
GRID_MOST = 9
"""Pictures of a grid at most; with more, the first ones are shown."""
GRID_SIDE = 1536  # pixels of a grid's longer side at most
GAP = 4  # pixels between the pictures of a grid
_BLOCKS = 4
_PAPER = 255
_CHUNK = 12  # bytes of a PNG chunk without its data
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def load(path: Path, sha256: str, size: tuple[int, int]) -> Pixels:
    """A run's picture as uint8 [H, W, 3] of this (width, height). UsageError when it is not the recorded one."""
    image = read_image(path, sha256)
    if isinstance(image, str):
        raise UsageError(f"{path} cannot be shown: {image}; repair the run with the `bench run` command that made it")
    return np.asarray(_fitted(_flat(image), size), dtype=np.uint8)


def _flat(image: Image) -> Image:
    """On white where it is transparent, as RGB."""
    from PIL import Image as Images

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Images.new("RGBA", image.size, (_PAPER, _PAPER, _PAPER, 255))
        image = Images.alpha_composite(paper, image)
    return image.convert("RGB")


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    from PIL import Image as Images
    from PIL import ImageOps

    if image.size == size:
        return image
    return ImageOps.pad(image, size, Images.Resampling.LANCZOS, color=(_PAPER, _PAPER, _PAPER))


def grid(pictures: Sequence[Pixels]) -> Pixels:
    """Up to nine pictures of one size as one picture on white, row by row, as near to a square as they go."""
    from PIL import Image as Images

    height, width = pictures[0].shape[:2]
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), _PAPER, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        y, x = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        sheet[y : y + height, x : x + width] = picture
    longest = max(sheet.shape[:2])
    if longest <= GRID_SIDE:
        return sheet
    share = GRID_SIDE / longest
    small = (round(sheet.shape[1] * share), round(sheet.shape[0] * share))
    return np.asarray(Images.fromarray(sheet).resize(small, Images.Resampling.LANCZOS), dtype=np.uint8)


def degraded(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A copy that nobody could prefer: a few blocks of colour under strong noise."""
    from PIL import Image as Images

    size = (pixels.shape[1], pixels.shape[0])
    coarse = Images.fromarray(pixels).resize((_BLOCKS, _BLOCKS), Images.Resampling.BOX)
    blocks = np.asarray(coarse.resize(size, Images.Resampling.NEAREST), dtype=np.float64)
    noise = rng.normal(0.0, 70.0, pixels.shape)
    return np.clip(0.5 * blocks + 64.0 + noise, 0, 255).astype(np.uint8)


def variety(pictures: Sequence[Pixels]) -> float:
    """Mean distance of the pictures from their mean, at 8 x 8 pixels: 0 where all are the same. Only ranks checks."""
    from PIL import Image as Images

    small = [np.asarray(Images.fromarray(p).resize((8, 8), Images.Resampling.BOX), dtype=np.float64) for p in pictures]
    return float(np.std(np.stack(small), axis=0).mean())


def disguised(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The picture with one pixel in eight changed by one level, which nobody sees, so that no digest finds it."""
    step = rng.choice(np.array([-1, 1], dtype=np.int16), size=pixels.shape)
    step *= (rng.random(pixels.shape[:2]) < CHANGED)[..., None]
    moved = pixels.astype(np.int16) + step
    return np.asarray(np.where((moved < 0) | (moved > 255), pixels - step, moved), dtype=np.uint8)


def encoded(pixels: Pixels) -> bytes:
    """A PNG file of these pixels, without any metadata."""
    from PIL import Image as Images

    buffer = io.BytesIO()
    Images.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def padded(png: bytes, length: int) -> bytes:
    """The PNG with a private chunk of zeros before its end, so that the file has this many bytes.

    `length` is at least that of the file plus 12, the size of an empty chunk.
    """
    if not png.endswith(_END) or length < len(png) + _CHUNK:
        raise ValueError(f"cannot pad a file of {len(png)} bytes to {length}")
    name, data = b"paDd", bytes(length - len(png) - _CHUNK)
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png[: -len(_END)] + chunk + _END


def padded_length(sizes: Sequence[int]) -> int:
    """The one length for files of these sizes: room for the largest with its chunk, in whole KiB."""
    return -(-(max(sizes) + _CHUNK) // 1024) * 1024
