"""The images of the fixture: every mode and shape that users bring, in whole-number arithmetic from the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.doctor.parity.tensors import Draw

Size = tuple[int, int, str]  # width, height, mode; "P+" is a palette with transparent entries

# The shorter or longer side exactly 224, one pixel wide, far from square, every mode; 64 to 700 pixels.
SIZES: tuple[Size, ...] = (
    (64, 64, "RGB"),
    (224, 224, "RGB"),
    (65, 97, "RGB"),
    (97, 65, "RGB"),
    (128, 128, "RGB"),
    (300, 224, "RGB"),
    (224, 301, "RGB"),
    (512, 512, "RGB"),
    (700, 500, "RGB"),
    (333, 511, "RGB"),
    (700, 96, "RGB"),
    (80, 700, "RGB"),
    (225, 223, "RGB"),
    (223, 226, "RGB"),
    (640, 64, "RGB"),
    (448, 448, "RGB"),
    (199, 317, "RGB"),
    (401, 255, "RGB"),
    (273, 629, "RGB"),  # of a shape where the height shrinks a little more than the width
    (259, 645, "RGB"),
    (5, 200, "RGB"),
    (1, 64, "RGB"),
    (480, 1, "RGB"),
    (90, 3, "RGB"),
    (224, 180, "RGB"),
    (150, 224, "RGB"),
    (100, 100, "RGBA"),
    (301, 200, "RGBA"),
    (358, 753, "RGBA"),
    (120, 90, "P"),
    (256, 256, "P"),
    (301, 149, "P"),
    (128, 100, "P+"),
    (77, 203, "P+"),
    (64, 64, "L"),
    (210, 130, "L"),
    (350, 351, "L"),
    (90, 120, "LA"),
    (128, 128, "1"),
    (99, 61, "1"),
    (400, 300, "1"),
    (100, 80, "I;16"),
    (160, 240, "I;16"),
)
# Groups of one size each for LPIPS, 102 pairs, and a pair too small for some of its networks.
LPIPS_SIZES: tuple[tuple[int, Size], ...] = (
    (8, (64, 64, "RGB")),
    (8, (65, 97, "RGB")),
    (7, (160, 96, "RGB")),
    (6, (120, 90, "P")),
    (5, (97, 75, "L")),
    (2, (16, 16, "RGB")),
)
DREAMSIM_SIZES: tuple[Size, ...] = (  # 105 pairs
    (64, 64, "RGB"),
    (224, 224, "RGB"),
    (333, 211, "RGB"),
    (90, 500, "RGB"),
    (150, 260, "RGBA"),
    (256, 200, "P"),
    (210, 130, "L"),
    (128, 100, "P+"),
    (512, 512, "RGB"),
    (97, 301, "RGB"),
    (225, 223, "RGBA"),
    (5, 200, "RGB"),
    (90, 120, "LA"),
    (64, 80, "1"),
    (199, 317, "P"),
)
_GRID = 6  # cells of random colour a side: noise pixel by pixel would be one grey to a network


def _upsample(grid: NDArray[np.int64], size: int, axis: int) -> NDArray[np.int64]:
    """Linear interpolation of `grid` to `size` places along `axis`, in whole numbers."""
    steps = (grid.shape[axis] - 1) * np.arange(size)
    last = max(size - 1, 1)
    left = np.minimum(steps // last, grid.shape[axis] - 2)
    part = steps - left * last
    shape = [1] * grid.ndim
    shape[axis] = size
    part = part.reshape(shape)
    a, b = np.take(grid, left, axis=axis), np.take(grid, left + 1, axis=axis)
    return np.asarray((a * (last - part) + b * part) // last, dtype=np.int64)


def _surface(draw: Draw, name: str, width: int, height: int, channels: int) -> NDArray[np.int64]:
    """Smooth random values in 0..65535 with a fine grain, [height, width, channels]."""
    coarse = draw.bits(f"{name} coarse", _GRID * _GRID * channels).astype(np.int64) + 32768
    smooth = _upsample(_upsample(coarse.reshape(_GRID, _GRID, channels), height, 0), width, 1)
    grain = draw.bits(f"{name} grain", height * width * channels).astype(np.int64).reshape(smooth.shape) // 12
    return np.asarray(np.clip(smooth + grain, 0, 65535), dtype=np.int64)


def _palette_image(draw: Draw, name: str, values: NDArray[np.int64], transparent: bool) -> Image.Image:
    image = Image.fromarray((values[..., 0] >> 8).astype(np.uint8)).copy()
    palette = (draw.bits(f"{name} palette", 768).astype(np.int64) + 32768) >> 8
    paletted = Image.new("P", image.size)
    paletted.putdata(list(image.tobytes()))
    paletted.putpalette([int(value) for value in palette])
    if transparent:
        paletted.info["transparency"] = bytes((255 * (index % 3 > 0)) for index in range(256))
    return paletted


def picture(draw: Draw, name: str, size: Size) -> Image.Image:
    """One image, and its pixels noted in the digest."""
    width, height, mode = size
    channels = {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode, 1)
    values = _surface(draw, name, width, height, channels)
    draw.note(f"{name} {size}", values.astype("<i8").tobytes())
    if mode in ("P", "P+"):
        return _palette_image(draw, name, values, mode == "P+")
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16))
    if mode == "1":
        return Image.fromarray(np.where(values[..., 0] > 32767, 255, 0).astype(np.uint8)).convert(
            "1", dither=Image.Dither.NONE
        )
    pixels = (values >> 8).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else np.ascontiguousarray(pixels))


def write(draw: Draw, name: str, size: Size, path: Path) -> None:
    """Save one image as PNG (lossless), where the originals and ours read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(draw, name, size)
    transparency = image.info.get("transparency")
    image.save(path, **({} if transparency is None else {"transparency": transparency}))
