"""The front of the means, and the band in which it lies under resampling.

Who is surely on it is decided in `bench.analysis.tradeoff.front_verdicts`: the share of resamples in which a method is
on the front is far too low for close methods. A hypervolume is not given: it needs a reference point that no protocol
fixes, and changes with every method that joins the table.

Attainment surfaces are those of Grunert da Fonseca, Fonseca & Hall (2001): the surface of level p is the border of
what the front attains in at least a share p of the resamples; computed by `moocore`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.pareto import front
from bench.analysis.stats import Floats
from bench.analysis.tradeoff.joint import Joint

_GRID = 121


@dataclass(frozen=True, slots=True)
class Band:
    """The best y that is attained together with at least x, [G] each; NaN where nothing attains so much x.

    `low` is attained in at least 97.5 % of the resamples, `middle` in half, `high` in 2.5 % (at level 0.95).
    """

    x: Floats
    low: Floats
    middle: Floats
    high: Floats


@dataclass(frozen=True)
class Front:
    """The front of two metrics. Arrays follow `methods`, those that have both metrics."""

    x: str
    y: str
    methods: tuple[str, ...]
    points: Floats = field(repr=False)  # [M, 2]
    on_front: NDArray[np.bool_] = field(repr=False)  # of the means
    band: Band = field(repr=False)


def front_of(joint: Joint, x: str, y: str, grid: int = _GRID) -> Front:
    """The front of metrics `x` and `y` over all methods that have both. ValueError without any such method."""
    means, draws = joint.points(x, y)
    have = np.asarray(np.isfinite(means).all(axis=1))
    if not have.any():
        raise ValueError(f"no method has both {x} and {y}")
    methods = tuple(name for name, kept in zip(joint.methods, have, strict=True) if kept)
    means, draws = means[have], draws[:, have]
    higher = (joint.higher[joint.metric(x)], joint.higher[joint.metric(y)])
    return Front(
        x=x,
        y=y,
        methods=methods,
        points=means,
        on_front=front(means, higher),
        band=_band(joint, means, draws, higher, grid),
    )


def _band(joint: Joint, means: Floats, draws: Floats, higher: tuple[bool, bool], grid: int) -> Band:
    flat = draws.reshape(-1, 2)
    keep = np.isfinite(flat).all(axis=1)
    sets = np.repeat(np.arange(draws.shape[0]), draws.shape[1])[keep]
    signs = np.where(np.asarray(higher), 1.0, -1.0)
    better = flat[keep] * signs
    tail = (1 - joint.level) / 2
    levels = (1 - tail, 0.5, tail)
    surfaces = attainment(better, sets, levels)
    xs = np.linspace(min(better[:, 0].min(), (means[:, 0] * signs[0]).min()), better[:, 0].max(), grid)
    low, middle, high = (signs[1] * _attained(surface, xs) for surface in surfaces)
    return Band(xs * signs[0], low, middle, high)


def attainment(points: Floats, sets: NDArray[Any], levels: tuple[float, ...]) -> list[Floats]:
    """Vertices [V, 2] of the attainment surface of each level in (0, 1], of points [N, 2] where higher is better.

    `sets` [N] says of which front (resample) each point is.
    """
    import moocore

    percentiles = [100 * level for level in levels]
    found = moocore.eaf(-points, sets=sets, percentiles=sorted(percentiles))
    return [-found[np.isclose(found[:, 2], percentile)][:, :2] for percentile in percentiles]


def _attained(surface: Floats, xs: Floats) -> Floats:
    """The best y among vertices that have at least x, per x [G]; NaN beyond the surface."""
    if not len(surface):
        return np.full(xs.shape, np.nan)
    reached = surface[:, 0] >= xs[:, None]
    best = np.where(reached, surface[:, 1], -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
