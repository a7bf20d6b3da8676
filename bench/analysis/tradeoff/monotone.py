"""A method against a sweep, supposing no more of the sweep's curve than that it is monotone.

Between two settings a straight line is a guess: a method ON a concave curve lies above the line, and is called better
than the sweep by it in 45 to 95 %. Where more of one metric is had only for less of the other, each setting bounds the
curve instead: the curve is not above setting s to the right of it, and not below it to the left.

- The method is surely better than the curve where it dominates a setting, surely in both metrics;
- the curve is surely better where a setting dominates the method, surely in both.

Each claim is an intersection-union test (Berger 1982); the level is shared among the settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bench.analysis.stats import Interval


class Judged(Protocol):
    """A difference with its tails: `bench.analysis.intervals.ClusterMean`, or `extrapolation.BlockMean`."""

    @property
    def mean(self) -> float: ...

    def one_sided(self, at: float = 0.0) -> tuple[float, float]: ...

    def interval(self, level: float = 0.95) -> Interval: ...


@dataclass(frozen=True, slots=True)
class _Turned:
    """A difference with its sign changed."""

    of: Judged

    @property
    def mean(self) -> float:
        return -self.of.mean

    def one_sided(self, at: float = 0.0) -> tuple[float, float]:
        above, below = self.of.one_sided(-at)
        return below, above

    def interval(self, level: float = 0.95) -> Interval:
        one = self.of.interval(level)
        return replace(one, mean=-one.mean, low=-one.high, high=-one.low)


def oriented(judged: Judged, higher: bool) -> Judged:
    """The difference with higher values better."""
    return judged if higher else _Turned(judged)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the sweep minus the method, in both metrics, oriented so that higher is better."""

    at: Judged  # the metric that is held equal
    metric: Judged  # the metric that is read


@dataclass(frozen=True, slots=True)
class Bounded:
    """Curve minus method: `low` and `high` are the 95 % limits against the less favourable bound; infinite: unbounded.

    `p` is two-sided, for Holm's correction; below 0.05 exactly where the limits exclude zero.
    """

    low: float
    high: float
    p: float


def bounded_by_settings(settings: Sequence[Setting], level: float = 0.95) -> Bounded:
    """What the settings of a monotone sweep say of its curve where it has as much of `at` as the method has."""
    count = len(settings)
    tail = (1 - level) / 2 / count
    low, high, up, down = -math.inf, math.inf, 1.0, 1.0
    for setting in settings:
        (right, left), (above, below) = setting.at.one_sided(), setting.metric.one_sided()
        limits = setting.metric.interval(1 - 2 * tail)
        if right < tail and math.isfinite(limits.low):
            low = max(low, limits.low)
        if left < tail and math.isfinite(limits.high):
            high = min(high, limits.high)
        up, down = min(up, _both(right, above)), min(down, _both(left, below))
    return Bounded(low, high, min(1.0, 2 * count * min(up, down)))


def _both(a: float, b: float) -> float:
    """p of two claims together: the larger; 1 where either could not be computed."""
    return 1.0 if math.isnan(a) or math.isnan(b) else max(a, b)
