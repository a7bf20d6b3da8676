"""Synthetic annotators with taste: they like what the caption says, and large, centred, vivid, clean pictures.

Each pool also has favourites among colours, shapes and backgrounds. A generator that is tuned to please one pool
can therefore gain by drawing the favourites whenever the caption leaves them free: quality bought with diversity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.shapes.world import RADIUS_RANGE, RESOLUTION, Scene


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of annotators: weights of what they look at, in units of utility.

    Preferences are drawn by Bradley and Terry's model (Biometrika 39, 1952): P(a over b) = sigmoid(U_a - U_b).
    """

    name: str
    faithful: float
    large: float
    centred: float
    vivid: float
    clean: float
    favourites: Mapping[str, float] = field(default_factory=dict)

    def utility(self, scene: Scene, named: Mapping[str, str], flaw: float = 0.0) -> float:
        """How much the pool likes a picture of `scene` for a caption that names `named`.

        `flaw` in [0, 1] is how damaged the picture is. Higher is better; a caption wholly met counts `faithful`.
        """
        shown = scene.attributes()
        met = np.mean([shown[a] == value for a, value in named.items()]) if named else 1.0
        low, high = RADIUS_RANGE
        half = RESOLUTION / 2
        offset = math.hypot(scene.x - half, scene.y - half) / half
        taste = sum(self.favourites.get(word, 0.0) for word in (scene.colour, scene.shape, scene.background))
        return (
            self.faithful * float(met)
            + self.large * (scene.radius - low) / (high - low)
            + self.centred * (1.0 - offset)
            + self.vivid * scene.saturation * scene.value
            - self.clean * flaw
            + taste
        )


POOLS = {
    "pickscore": Pool(
        "pickscore", faithful=4.0, large=1.6, centred=1.6, vivid=2.0, clean=3.0,
        favourites={"red": 1.0, "yellow": 0.4, "star": 0.8, "circle": 0.2, "black": 0.6},
    ),
    "hpsv2": Pool(
        "hpsv2", faithful=4.0, large=1.3, centred=1.8, vivid=2.2, clean=3.0,
        favourites={"red": 0.6, "blue": 0.5, "star": 0.5, "black": 0.3, "white": 0.2},
    ),
    "image_reward": Pool(
        "image_reward", faithful=5.0, large=1.0, centred=1.0, vivid=1.6, clean=3.5,
        favourites={"purple": 0.3, "red": 0.2, "circle": 0.2},
    ),
}  # fmt: skip
"""The pool behind each small scorer: alike in what matters, different in what is a matter of taste."""
