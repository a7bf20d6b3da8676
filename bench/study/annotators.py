"""Raters of the embedded world: they look at the pixels that the page shows them, and answer with taste and noise.

What a rater likes is the utility of a pool of `bench.shapes.annotator`; how varied a set is, the share of attributes in
which two of its pictures differ. Answers follow Davidson (JASA 65, 1970): with x the difference of left and right,

    P(left) : P(tie) : P(right) = exp(x / 2) : ties : exp(-x / 2)

which is Bradley and Terry's model (Biometrika 39, 1952) where `ties` is 0.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from bench.errors import UsageError
from bench.shapes.annotator import POOLS, Pool
from bench.shapes.captions import ATTRIBUTES, parse
from bench.shapes.oracle import Reading, read
from bench.shapes.world import RADIUS_RANGE, RESOLUTION, Scene
from bench.study.pictures import GAP, Pixels

VARIETY = 12.0
"""Utility of a set whose pictures differ in every attribute, against one of equal pictures."""
_CALM, _RUINED = 2.0, 20.0  # levels of 255 by which a pixel differs from its neighbourhood's median: flaw 0 and 1


@dataclass(frozen=True, slots=True)
class Habits:
    """How raters err. `ties` and `lapse` in the range [0, ...) and [0, 1]; `bias` above 0 favours the left side."""

    ties: float = 0.6
    lapse: float = 0.02
    bias: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a rater sees in one picture of the world."""

    reading: Reading
    flaw: float


@dataclass
class Eyes:
    """Reads pictures, each only once."""

    _known: dict[bytes, list[Look]] = field(default_factory=dict)

    def see(self, png: bytes, as_set: bool) -> list[Look]:
        """The pictures in a file: one, or those of a grid. UsageError when they are not of the embedded world."""
        from PIL import Image

        key = hashlib.sha256(png).digest()
        if key not in self._known:
            with Image.open(io.BytesIO(png)) as opened:
                pixels = np.asarray(opened.convert("RGB"), dtype=np.uint8)
            self._known[key] = [_look(one) for one in (_tiles(pixels) if as_set else [pixels])]
        return self._known[key]


def _tiles(pixels: Pixels) -> list[Pixels]:
    """The pictures of a grid that are not blank paper, row by row."""
    step = RESOLUTION + GAP
    height, width = pixels.shape[:2]
    if (height + GAP) % step or (width + GAP) % step:
        raise UsageError(_foreign(width, height))
    found = [
        pixels[y : y + RESOLUTION, x : x + RESOLUTION] for y in range(0, height, step) for x in range(0, width, step)
    ]
    return [one for one in found if one.min() < 255]


def _foreign(width: int, height: int) -> str:
    return (
        f"simulated raters only know the embedded world (suite shapes, {RESOLUTION} x {RESOLUTION} pixels), and these "
        f"pictures have {width} x {height}"
    )


def _look(pixels: Pixels) -> Look:
    from scipy import ndimage

    if pixels.shape != (RESOLUTION, RESOLUTION, 3):
        raise UsageError(_foreign(pixels.shape[1], pixels.shape[0]))
    smooth = ndimage.median_filter(pixels, size=(3, 3, 1))
    rough = float(np.abs(pixels.astype(np.float64) - smooth).mean())
    flaw = min(max((rough - _CALM) / (_RUINED - _CALM), 0.0), 1.0)
    return Look(read(pixels), flaw)


def liking(look: Look, prompt: str, pool: Pool) -> float:
    """How much a pool likes one picture for its prompt; a picture in which nothing can be recognised is not liked."""
    reading = look.reading
    if math.isnan(reading.radius):
        return -pool.clean
    low, high = RADIUS_RANGE
    scene = Scene(
        shape=reading.shape or "",
        colour=reading.colour or "",
        background=reading.background or "",
        radius=min(max(reading.radius, low), high),
        x=reading.x,
        y=reading.y,
        rotation=0.0,
        hue=0.0,
        saturation=min(max(reading.saturation, 0.0), 1.0),
        value=reading.value,
        light=(0.0, 0.0),
    )
    return pool.utility(scene, parse(prompt), look.flaw)


def alignment(look: Look, prompt: str, pool: Pool) -> float:
    """How well a picture shows what its prompt names, in the pool's units; 0 where the prompt names nothing."""
    named = parse(prompt)
    met = [look.reading.attribute(name) == value for name, value in named.items()]
    return pool.faithful * sum(met) / len(met) if met else 0.0


def varied(looks: Sequence[Look]) -> float:
    """Share of the five attributes in which two pictures of a set differ, in [0, 1]; unreadable ones add nothing."""
    pairs = list(itertools.combinations(looks, 2))
    shares = [
        sum(_differ(a.reading.attribute(name), b.reading.attribute(name)) for name in ATTRIBUTES) / len(ATTRIBUTES)
        for a, b in pairs
        if not (math.isnan(a.reading.radius) or math.isnan(b.reading.radius))
    ]
    return sum(shares) / len(pairs) if pairs else 0.0


def _differ(a: str | None, b: str | None) -> bool:
    return a != b


@dataclass(frozen=True, slots=True)
class SimulatedRater:
    """One rater: a pool's taste, how decided it is, and whether it looks at all (a spammer does not)."""

    pool: Pool
    decided: float
    spammer: bool
    habits: Habits

    @classmethod
    def drawn(cls, seed: int, rater: str, habits: Habits, spammers: float) -> SimulatedRater:
        """The same for the same seed and rater."""
        rng = Random(f"{seed}:{rater}")
        pool = POOLS[rng.choice(sorted(POOLS))]
        return cls(pool, math.exp(rng.gauss(0.0, 0.25)), rng.random() < spammers, habits)

    def worth(self, looks: Sequence[Look], question: str, prompt: str, as_set: bool) -> float:
        """What the pictures on one side are worth to this rater."""
        if as_set:
            return VARIETY * varied(looks)
        judge = alignment if question == "alignment" else liking
        return judge(looks[0], prompt, self.pool)

    def choose(self, difference: float, rng: Random) -> str:
        """left, right or tie for a difference of worth, left minus right."""
        ties = self.habits.ties
        if self.spammer or rng.random() < self.habits.lapse:
            return rng.choice(["left", "right", "tie"] if ties > 0 else ["left", "right"])
        x = min(max(self.decided * difference + self.habits.bias, -60.0), 60.0)
        weights = [math.exp(x / 2), math.exp(-x / 2), ties]
        return rng.choices(["left", "right", "tie"], weights)[0]
