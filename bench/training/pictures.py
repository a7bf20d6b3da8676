"""One rule for training pictures, whatever they come from: a file in a folder, a row of a table, a part of an archive.

| what a file has | what is trained on |
|---|---|
| EXIF orientation | the picture turned as viewers show it |
| transparency | the picture on white |
| 16 bits a channel, one channel | value / 257, rounded (65535 is white, not everything above 255) |
| several frames | the first |
| more than `metrics.images.MAX_PIXELS` pixels, 32-bit integers or floats | refused |
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from bench.errors import UsageError
from metrics.images import MAX_PIXELS
from metrics.networks.preprocess import resize_crop, squash, to_unit

RULE = 2
"""Number of the rule above; it is part of what makes a training this one. 1: neither orientation nor white nor 257."""
_WHITE = (255, 255, 255, 255)
_TRANSPARENT = ("LA", "PA", "La", "RGBA", "RGBa")


def read_picture(source: Path | bytes, name: str) -> Image.Image:
    """The RGB picture in a file or in its bytes. Raises UsageError, which calls it `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is asked instead
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                return _rgb(image, name)
    except Image.DecompressionBombError:  # PIL's own limit lies above ours
        raise _too_large(name, "") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UsageError(f"{name} cannot be read as an image ({error}): repair or remove it") from error


def to_picture(image: Image.Image, resolution: int, fit: str = "crop") -> Tensor:
    """RGB image -> float32 [3, R, R] in [-1, 1].

    `crop`: PIL bicubic on the shorter side, centre crop. `squash`: PIL bilinear to a square whatever the shape, as the
    official ImageReFL trainer reads its pictures.
    """
    if fit == "squash":
        return to_unit(squash(image, resolution, Image.Resampling.BILINEAR)) * 2.0 - 1.0
    return to_unit(resize_crop(image, resolution)) * 2.0 - 1.0


def _rgb(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(name, f" ({width} x {height})")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_wide(image, name)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _from_wide(image: Image.Image, name: str) -> Image.Image:
    """A picture of more than 8 bits a value: of 16 bits as grey, of others refused since their range is unknown."""
    values: Any = np.asarray(image)
    if image.mode in ("I", "F") and (image.mode == "F" or values.min() < 0 or values.max() > 65535):
        kind = "floating-point numbers" if image.mode == "F" else "32-bit integers"
        raise UsageError(f"{name} holds {kind}, whose value range is unknown: save it as 8-bit RGB")
    grey = np.rint(values.astype(np.float64) / 257.0).astype(np.uint8)
    return Image.fromarray(grey, "L").convert("RGB")


def _too_large(name: str, size: str) -> UsageError:
    return UsageError(f"{name} has more pixels{size} than the {MAX_PIXELS:,} allowed: resize it first.")
