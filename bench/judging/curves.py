"""Trade between two metrics along a sweep: how much of one there is at an equal amount of the other, and its price.

A sweep (one method at several settings) is read as a curve, straight between neighbouring settings; nothing is
extrapolated. Each resample of the prompts moves the curve and the point it is read at together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.judging.joint import Joint
from bench.stats import Floats, Interval


@dataclass(frozen=True, slots=True)
class AtEqual:
    """`metric` of a sweep where its `at` equals that of the reference method."""

    sweep: tuple[str, ...]
    reference: str
    at: str  # the metric that is held equal
    metric: str  # the metric that is read
    level: float  # the reference's `at`
    value: Interval  # the sweep's `metric` there
    difference: Interval  # that, minus the reference's `metric`, in the metric's unit
    inside: float  # share of resamples in which the sweep reaches the reference's `at`


def interpolate(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> Floats:
    """y at `at` [...] on piecewise straight curves through x, y [..., S] in the order of x; NaN outside of their range.

    Points that are not finite are not part of their curve; of points with one x, any y between theirs may be returned.
    """
    xs, ys, wanted = (np.asarray(one, dtype=np.float64) for one in (x, y, at))
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs = np.where(finite, xs, np.inf)
    order = np.argsort(xs, axis=-1, kind="stable")
    xs, ys = np.take_along_axis(xs, order, -1), np.take_along_axis(np.where(finite, ys, np.nan), order, -1)
    count = finite.sum(axis=-1)
    right = np.clip((xs < wanted[..., None]).sum(axis=-1), 1, np.maximum(count - 1, 1))
    right = np.minimum(right, xs.shape[-1] - 1)
    left = np.maximum(right - 1, 0)

    def pick(values: Floats, place: NDArray[np.int64]) -> Floats:
        return np.asarray(np.take_along_axis(values, place[..., None], -1)[..., 0])

    x0, x1, y0, y1 = pick(xs, left), pick(xs, right), pick(ys, left), pick(ys, right)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x1 > x0, (wanted - x0) / (x1 - x0), 0.0)
        value = np.where(share == 0, y0, np.where(share == 1, y1, y0 + share * (y1 - y0)))
    inside = (wanted >= x0) & (wanted <= x1) & (count > 0)
    return np.where(inside, value, np.nan)


def at_equal(joint: Joint, sweep: Sequence[str], reference: str, at: str, metric: str) -> AtEqual:
    """`metric` of the sweep's curve where its `at` equals the reference's, and the difference to the reference there.

    Where the sweep does not reach the reference's `at`, NaN with a reason.
    """
    places = [joint.method(name) for name in sweep]
    k, m, r = joint.metric(at), joint.metric(metric), joint.method(reference)
    level, own = float(joint.means[r, k]), float(joint.means[r, m])
    value = float(interpolate(joint.means[places, k], joint.means[places, m], level))
    draws = interpolate(joint.draws[:, places, k], joint.draws[:, places, m], joint.draws[:, r, k])
    inside = float(np.isfinite(draws).mean())
    found, gap = joint.interval(value, draws), joint.interval(value - own, draws - joint.draws[:, r, m])
    if not math.isfinite(value):
        reason = f"the sweep does not reach the {at} of {reference}"
        found, gap = _with_reason(found, reason), _with_reason(gap, reason)
    return AtEqual(tuple(sweep), reference, at, metric, level, found, gap, inside)


def _with_reason(one: Interval, reason: str) -> Interval:
    return Interval(one.mean, one.low, one.high, one.n, one.n_unscored, one.clusters, reason)


def at_equal_reward(joint: Joint, sweep: Sequence[str], reference: str, reward: str, diversity: str) -> AtEqual:
    """Diversity at equal reward: the sweep's diversity where its reward equals that of the reference."""
    return at_equal(joint, sweep, reference, reward, diversity)


def at_equal_diversity(joint: Joint, sweep: Sequence[str], reference: str, reward: str, diversity: str) -> AtEqual:
    """Reward at equal diversity: the sweep's reward where its diversity equals that of the reference."""
    return at_equal(joint, sweep, reference, diversity, reward)


def price(joint: Joint, method: str, base: str, reward: str, diversity: str) -> Interval:
    """What one unit of reward gained over `base` cost in diversity: loss of diversity / gain in reward.

    Both in their own direction, so a positive price is a loss. Unit: the diversity's per the reward's. NaN with a
    reason when the reward did not surely rise: a ratio over something that may be zero says nothing.
    """
    (gain, gains), (loss, losses) = (
        _change(joint, method, base, reward, 1.0),
        _change(joint, method, base, diversity, -1.0),
    )
    if not joint.interval(gain, gains).low > 0:
        reason = f"{reward} did not surely rise over {base}"
        return Interval(math.nan, math.nan, math.nan, 0, 0, joint.clusters, reason)
    with np.errstate(invalid="ignore", divide="ignore"):
        return joint.interval(loss / gain, np.where(gains > 0, losses / gains, np.nan))


def _change(joint: Joint, method: str, base: str, metric: str, sign: float) -> tuple[float, Floats]:
    """`sign` times the improvement of a method over the base: positive is better for sign 1."""
    sign *= 1.0 if joint.higher[joint.metric(metric)] else -1.0
    (mean, draws), (before, draws_before) = joint.value(method, metric), joint.value(base, metric)
    return sign * (mean - before), sign * (draws - draws_before)
