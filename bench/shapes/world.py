"""The world of the embedded suite: one coloured shape on a plain background, drawn procedurally.

A `Scene` is the full description of a picture; a caption names only some of its attributes and leaves the
others free. The free ones are where the diversity of a generator can be seen and measured.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESOLUTION = 64
"""Side of a picture in pixels."""

SHAPES = ("circle", "square", "triangle", "star")
HUES: dict[str, float] = {"red": 0.0, "yellow": 52.0, "green": 120.0, "cyan": 185.0, "blue": 235.0, "purple": 290.0}
"""Colour word -> hue in degrees."""
COLOURS = tuple(HUES)
BACKGROUNDS = ("white", "grey", "black", "gradient")
SIZES = ("small", "large")
POSITIONS = ("centre", "left", "right", "top", "bottom")

RADIUS_RANGE = (8.0, 14.5)
"""Equal-area radius in pixels: every shape of radius r covers pi r^2 pixels."""
SMALL_BELOW, LARGE_ABOVE = 10.0, 12.5
CENTRE_WITHIN, SIDE_BEYOND = 4.0, 5.0
"""Offsets in pixels: below the first on both axes is "centre", above the second on the main axis is a side."""

UPRIGHT = {"circle": 0.0, "square": math.pi / 4, "triangle": -math.pi / 2, "star": -math.pi / 2}
"""Rotation in radians at which a shape stands as people draw it."""
TILT = math.radians(15.0)
"""Shapes are tilted by up to this to either side."""

STAR_INNER_RATIO = 0.45
_SUPERSAMPLING = 3
# Circumradius over equal-area radius, from the polygon's area.
_CIRCUMRADIUS = {
    "circle": 1.0,
    "square": math.sqrt(math.pi / 2.0),
    "triangle": math.sqrt(math.pi / (3.0 * math.sqrt(3.0) / 4.0)),
    "star": math.sqrt(math.pi / (5.0 * STAR_INNER_RATIO * math.sin(math.pi / 5.0))),
}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that determines a picture.

    `radius`, `x`, `y` are in pixels (y grows downwards), `rotation` in radians, `hue` in degrees; `saturation`,
    `value` and `light` (the background's two grey levels, top and bottom) are in [0, 1].
    """

    shape: str
    colour: str
    background: str
    radius: float
    x: float
    y: float
    rotation: float
    hue: float
    saturation: float
    value: float
    light: tuple[float, float]

    @property
    def size(self) -> str | None:
        """ "small", "large", or None in between."""
        return size_word(self.radius)

    @property
    def position(self) -> str | None:
        """One of `POSITIONS`, or None where no word fits."""
        return position_word(self.x, self.y)

    def attributes(self) -> dict[str, str | None]:
        """The five attributes that a caption can name, by name."""
        return {
            "shape": self.shape,
            "colour": self.colour,
            "background": self.background,
            "size": self.size,
            "position": self.position,
        }


def size_word(radius: float) -> str | None:
    """The size word for an equal-area radius in pixels, None between the two."""
    if radius < SMALL_BELOW:
        return "small"
    return "large" if radius > LARGE_ABOVE else None


def position_word(x: float, y: float) -> str | None:
    """The position word for a centre in pixels, None where no word fits."""
    middle = RESOLUTION / 2
    dx, dy = x - middle, y - middle
    if max(abs(dx), abs(dy)) < CENTRE_WITHIN:
        return "centre"
    if abs(dx) > SIDE_BEYOND and abs(dx) > abs(dy):
        return "left" if dx < 0 else "right"
    if abs(dy) > SIDE_BEYOND and abs(dy) > abs(dx):
        return "top" if dy < 0 else "bottom"
    return None


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene; all attributes are independent, the position is uniform where the shape fits whole."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    colour = COLOURS[rng.integers(len(COLOURS))]
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    radius = float(rng.uniform(*RADIUS_RANGE))
    reach = RESOLUTION / 2 - radius * _CIRCUMRADIUS[shape] - 1.0
    x, y = (float(RESOLUTION / 2 + rng.uniform(-reach, reach)) for _ in range(2))
    if background == "gradient":
        light = (float(rng.uniform(0.75, 0.95)), float(rng.uniform(0.05, 0.25)))
    else:
        level = float(rng.uniform(*{"white": (0.9, 1.0), "grey": (0.42, 0.58), "black": (0.0, 0.1)}[background]))
        light = (level, level)
    return Scene(
        shape=shape,
        colour=colour,
        background=background,
        radius=radius,
        x=x,
        y=y,
        rotation=UPRIGHT[shape] + float(rng.uniform(-TILT, TILT)),
        hue=(HUES[colour] + float(rng.uniform(-10.0, 10.0))) % 360.0,
        saturation=float(rng.uniform(0.5, 1.0)),
        value=float(rng.uniform(0.6, 1.0)),
        light=light,
    )


def render(scene: Scene) -> npt.NDArray[np.uint8]:
    """Draw a scene, anti-aliased by supersampling: uint8 RGB of shape [64, 64, 3]."""
    fine = RESOLUTION * _SUPERSAMPLING
    axis = (np.arange(fine, dtype=np.float32) + 0.5) / _SUPERSAMPLING
    dx, dy = axis[None, :] - np.float32(scene.x), axis[:, None] - np.float32(scene.y)
    reach = np.asarray(scene.radius * _CIRCUMRADIUS[scene.shape], dtype=np.float32)
    boundary = reach * outline(scene.shape, np.arctan2(dy, dx) - np.float32(scene.rotation))
    inside = (dx * dx + dy * dy < boundary * boundary).astype(np.float32)
    coverage = inside.reshape(RESOLUTION, _SUPERSAMPLING, RESOLUTION, _SUPERSAMPLING).mean(axis=(1, 3))[..., None]
    ink = np.asarray(colorsys.hsv_to_rgb(scene.hue / 360.0, scene.saturation, scene.value), dtype=np.float32)
    paper = np.linspace(*scene.light, RESOLUTION, dtype=np.float32)[:, None, None]
    picture = coverage * ink + (1.0 - coverage) * paper
    return np.asarray(np.rint(picture * 255.0), dtype=np.uint8)


def outline(shape: str, angle: Array) -> Array:
    """Distance from centre to outline at each angle (radians), in units of the circumradius."""
    if shape == "circle":
        return np.ones_like(angle)
    corners, inner = {"square": (4, None), "triangle": (3, None), "star": (5, STAR_INNER_RATIO)}[shape]
    half = math.pi / corners
    folded = np.abs(np.mod(angle, 2.0 * half) - half)  # 0 at an edge's middle, `half` at a corner
    if inner is None:
        return np.asarray(math.cos(half) / np.cos(folded), dtype=np.float32)
    from_corner = half - folded
    return np.asarray(
        inner * math.sin(half) / (inner * np.sin(half - from_corner) + np.sin(from_corner)), dtype=np.float32
    )
