"""Reads a picture of the world back: shape, colour, size, position and background, from pixels alone.

It is no network: backgrounds are grey and shapes are coloured, so chroma is the mask, and the outline's angular
harmonics tell the shape (3 for a triangle, 4 for a square, 5 for a star, none for a circle).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench.shapes.world import HUES, RESOLUTION, outline, position_word, size_word

MASK_CHROMA = 0.16
"""Pixels of at least this max(RGB) - min(RGB) belong to the shape; rendered shapes have 0.3 or more."""
MIN_AREA, MAX_AREA = 30, 2600
_ANGLES, _RADII = 96, 112
_HARMONICS = (3, 4, 5)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the oracle sees; None where nothing can be told.

    `radius` is the equal-area radius in pixels, `saturation` and `value` are those of the ink in [0, 1].
    """

    shape: str | None
    colour: str | None
    background: str | None
    size: str | None
    position: str | None
    radius: float
    x: float
    y: float
    saturation: float
    value: float

    def attribute(self, name: str) -> str | None:
        """One of the five attributes by its name."""
        value = getattr(self, name)
        return None if value is None else str(value)


_NOTHING = Reading(None, None, None, None, None, math.nan, math.nan, math.nan, math.nan, math.nan)


def read(image: npt.NDArray[np.uint8]) -> Reading:
    """Read one picture: uint8 RGB of shape [64, 64, 3].

    Raises `ValueError` for another shape or dtype.
    """
    if image.shape != (RESOLUTION, RESOLUTION, 3) or image.dtype != np.uint8:
        raise ValueError(f"the oracle reads uint8 pictures of 64 x 64 x 3, not {image.dtype} of {image.shape}")
    pixels = image.astype(np.float64) / 255.0
    chroma = pixels.max(axis=2) - pixels.min(axis=2)
    background = _background(pixels, chroma)
    mask = _largest_blob(chroma > MASK_CHROMA)
    if not MIN_AREA <= mask.sum() <= MAX_AREA:
        return Reading(None, None, background, None, None, math.nan, math.nan, math.nan, math.nan, math.nan)
    ink = _ink(pixels, chroma, mask)
    soft = np.where(ndimage.binary_dilation(mask, iterations=1), np.clip(chroma / max(_chroma(ink), 1e-6), 0, 1), 0.0)
    area = float(soft.sum())
    axis = np.arange(RESOLUTION) + 0.5
    x, y = float((soft * axis[None, :]).sum() / area), float((soft * axis[:, None]).sum() / area)
    radius = math.sqrt(area / math.pi)
    value = float(ink.max())
    return Reading(
        shape=_shape(soft, x, y),
        colour=_colour(ink),
        background=background,
        size=size_word(radius),
        position=position_word(x, y),
        radius=radius,
        x=x,
        y=y,
        saturation=_chroma(ink) / max(value, 1e-6),
        value=value,
    )


def _chroma(ink: Array) -> float:
    return float(ink.max() - ink.min())


def _largest_blob(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _ink(pixels: Array, chroma: Array, mask: npt.NDArray[np.bool_]) -> Array:
    """Median colour of the shape's inner pixels (its most coloured half, which leaves the soft edge out)."""
    inner = mask & (chroma >= np.median(chroma[mask]))
    return np.asarray(np.median(pixels[inner], axis=0))


def _colour(ink: Array) -> str:
    red, green, blue = (float(c) for c in ink)
    hue = math.degrees(math.atan2(math.sqrt(3.0) * (green - blue), 2.0 * red - green - blue))
    return min(HUES, key=lambda name: abs((hue - HUES[name] + 180.0) % 360.0 - 180.0))


def _background(pixels: Array, chroma: Array) -> str | None:
    paper = ~ndimage.binary_dilation(chroma > MASK_CHROMA / 2, iterations=1)
    if paper.sum() < 200:
        return None
    rows, _ = np.nonzero(paper)
    light = pixels.mean(axis=2)[paper]
    top, bottom = light[rows < 16], light[rows >= 48]
    if len(top) and len(bottom) and float(top.mean() - bottom.mean()) > 0.25:
        return "gradient"
    level = float(light.mean())
    return "white" if level > 0.74 else "black" if level < 0.26 else "grey"


def _harmonics(extent: Array) -> Array:
    spectrum = np.abs(np.fft.rfft(extent, axis=-1))
    return np.asarray(spectrum[..., list(_HARMONICS)] / np.maximum(spectrum[..., :1], 1e-9))


def _reference_harmonics() -> dict[str, Array]:
    angles = np.linspace(0.0, 2.0 * math.pi, _ANGLES, endpoint=False, dtype=np.float32)
    return {s: _harmonics(outline(s, angles).astype(np.float64)) for s in ("circle", "square", "triangle", "star")}


_REFERENCES = _reference_harmonics()


def _shape(soft: Array, x: float, y: float) -> str:
    """Nearest outline by the relative size of the harmonics 3, 4 and 5 of its radial extent."""
    angles = np.linspace(0.0, 2.0 * math.pi, _ANGLES, endpoint=False)
    steps = np.linspace(0.0, 40.0, _RADII)
    rows = y - 0.5 + steps[None, :] * np.sin(angles)[:, None]
    columns = x - 0.5 + steps[None, :] * np.cos(angles)[:, None]
    along = ndimage.map_coordinates(soft, [rows, columns], order=1, mode="constant")
    found = _harmonics(along.sum(axis=1))
    return min(_REFERENCES, key=lambda s: float(np.linalg.norm(found - _REFERENCES[s])))
