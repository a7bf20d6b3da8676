"""Samplers that push the images of a prompt apart while they are made: the K images are one unit. Pure data.

The arithmetic is in `bench.sampling.coupling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from bench.errors import UsageError

Kind = Literal["particle_guidance", "spell"]
FIELDS: dict[str, tuple[str, ...]] = {
    "particle_guidance": ("repulsion", "bandwidth", "least_noise"),
    "spell": ("shield", "overshoot"),
}
ALL_FIELDS = tuple(name for names in FIELDS.values() for name in names)
_DEFAULTS = {"repulsion": 0.01, "bandwidth": 1.0, "least_noise": 1.0, "shield": 0.6, "overshoot": 1.0}


@dataclass(frozen=True, slots=True)
class Coupling:
    """How the K images of a prompt act on each other; D is the number of elements of one image's latents.

    particle_guidance: the noise estimate of image i loses `repulsion` x D x sigma x the sum over the others of
    k_ij (z_i - z_j) 2 / h_i, the gradient of a potential of kernels k_ij = exp(-|z_i - z_j|^2 / h_i) in z, what the
    network sees, with h_i = `bandwidth` x the median of |z_i - z_j|^2 / log K. It acts while the noise level sigma
    (noise over signal) is at least `least_noise`, as in the authors' code, whose coefficient is `repulsion` x D (Corso
    et al. 2023, arXiv 2310.13102).
    spell: the clean latents that the prediction amounts to are pushed by `overshoot` x the sum over the others of
    max(0, r / |x_i - x_j| - 1) (x_i - x_j), with the radius r = `shield` x sqrt(D): `shield` is the root mean square
    difference of an element below which two images are too near (Kirchhof et al. 2024, arXiv 2410.06025).
    """

    kind: Kind
    repulsion: float | None = None
    bandwidth: float | None = None
    least_noise: float | None = None
    shield: float | None = None
    overshoot: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"coupling '{self.kind}' is not one of {', '.join(get_args(Kind))}")
        for name in ALL_FIELDS:
            value = getattr(self, name)
            if value is None:
                continue
            numeric = isinstance(value, Real) and not isinstance(value, bool)
            if not numeric or not 0 <= float(value) < math.inf or (name == "bandwidth" and not value):
                least = "above 0" if name == "bandwidth" else "of at least 0"
                raise UsageError(f"{name} of a coupling must be a number {least}, got {value!r}")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the settings that a coupling of this kind has."""
        return FIELDS[self.kind]

    def check(self, method: str, samples: int) -> None:
        """Raise UsageError where a prompt has one image, which nothing can be coupled with."""
        if samples < 2:
            raise UsageError(
                f"method '{method}' makes the images of a prompt together and needs at least 2 of them: pass "
                "`--samples 2` or more"
            )

    def identity(self, samples: int) -> dict[str, Any]:
        """The settings as plain JSON data, with how many images make a unit: other numbers are other images."""
        return {**self.to_dict(), "samples": samples}

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON data, for the manifest."""
        return {"kind": self.kind} | {name: getattr(self, name) for name in self.fields}


def coupling(kind: Kind, **settings: float) -> Coupling:
    """A coupling with the defaults of its kind for what is not given.

    >>> coupling("spell", shield=1.0).to_dict()
    {'kind': 'spell', 'shield': 1.0, 'overshoot': 1.0}
    """
    return Coupling(kind, **{**{name: _DEFAULTS[name] for name in FIELDS.get(kind, ())}, **settings})
