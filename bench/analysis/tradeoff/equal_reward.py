"""Trade between two metrics along a sweep: how much of one there is at an equal amount of the other, and its price.

A sweep (one method at several settings) is read as a curve in the order of its settings, straight between neighbours;
nothing is extrapolated. Each resample of the prompts moves the curve and the point it is read at together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.stats import Floats, Interval
from bench.analysis.tradeoff.joint import ENOUGH, Joint


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
    inside: float  # share of resamples in which the sweep reaches the reference's `at`; below 97.5 % no interval
    crossings: int = 1  # at how many places of the curve the means have the reference's `at`; one value only for 1


def interpolate(x: ArrayLike, y: ArrayLike, at: ArrayLike, near: float | None = None) -> Floats:
    """y where curves through x, y [..., S], straight between neighbours in that order, have x = `at` [...]; else NaN.

    Points that are not finite are not part of their curve. Of several places the first, or the one nearest to `near`:
    a place on the curve, counted in points (1.5 is half way between the second point and the third).
    """
    indices, values = _crossings(x, y, at)
    distance = np.where(np.isfinite(indices), np.abs(indices - (0.0 if near is None else near)), np.inf)
    chosen = np.argmin(distance, axis=-1)
    return np.asarray(np.take_along_axis(values, chosen[..., None], -1)[..., 0])


def crossings_of(x: ArrayLike, at: float) -> list[float]:
    """Where on the curve through x [S], in the order of the points and counted in them, x = `at`: [] for nowhere."""
    indices, _ = _crossings(x, np.zeros_like(np.asarray(x, dtype=np.float64)), at)
    return sorted({float(index) for index in indices if math.isfinite(index)})


def _crossings(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> tuple[Floats, Floats]:
    """Place on the curve and y per piece between two points, [..., S - 1], at least one; NaN where x is not `at`."""
    xs, ys, wanted = (np.asarray(one, dtype=np.float64) for one in (x, y, at))
    finite = np.isfinite(xs) & np.isfinite(ys)
    order = np.argsort(~finite, axis=-1, kind="stable")  # those that count first, in their own order
    xs, ys = np.take_along_axis(xs, order, -1), np.take_along_axis(ys, order, -1)
    count = finite.sum(axis=-1)[..., None]
    if xs.shape[-1] == 1:  # one point is a curve of no length
        xs, ys, order = (np.concatenate([one, one], axis=-1) for one in (xs, ys, order))
    x0, x1, y0, y1 = xs[..., :-1], xs[..., 1:], ys[..., :-1], ys[..., 1:]
    first = np.arange(x0.shape[-1])
    x1, y1 = np.where(count == 1, x0, x1), np.where(count == 1, y0, y1)
    wanted = wanted[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x1 == x0, 0.0, (wanted - x0) / (x1 - x0))
        value = np.where(share == 0, y0, np.where(share == 1, y1, y0 + share * (y1 - y0)))
    there = (first + 1 < np.maximum(count, 2)) & (count > 0)
    hit = there & (wanted >= np.minimum(x0, x1)) & (wanted <= np.maximum(x0, x1))
    start, end = order[..., :-1], np.where(count == 1, order[..., :-1], order[..., 1:])
    return np.where(hit, start + share * (end - start), np.nan), np.where(hit, value, np.nan)


def at_equal(joint: Joint, sweep: Sequence[str], reference: str, at: str, metric: str) -> AtEqual:
    """`metric` of the sweep's curve where its `at` equals the reference's, and the difference to the reference there.

    NaN with a reason where the sweep does not reach the reference's `at`, or has it at several places. Where it reaches
    that in fewer than 97.5 % of the resamples there is a mean, but no interval: the resamples that do are a selection.
    In each resample the curve is read at the place nearest to where it is read for the means.
    """
    indices = [joint.method(name) for name in sweep]
    k, m, r = joint.metric(at), joint.metric(metric), joint.method(reference)
    level, own = float(joint.means[r, k]), float(joint.means[r, m])
    both = np.where(np.isfinite(joint.means[indices, m]), joint.means[indices, k], np.nan)
    found = crossings_of(both, level)
    near = found[0] if found else None
    draws = interpolate(joint.draws[:, indices, k], joint.draws[:, indices, m], joint.draws[:, r, k], near)
    inside = float(np.isfinite(draws).mean())
    value, reason = math.nan, ""
    if not found:
        reason = f"the sweep does not reach the {at} of {reference}"
    elif len(found) > 1:
        reason = f"the sweep has the {at} of {reference} at {len(found)} places of its curve: no one value"
    else:
        value = float(interpolate(joint.means[indices, k], joint.means[indices, m], level))
        if inside < ENOUGH:
            reason = f"the sweep reaches the {at} of {reference} in {inside:.0%} of the resamples: no interval"
    both_of = joint.interval(value, draws), joint.interval(value - own, draws - joint.draws[:, r, m])
    one, difference = (_without_interval(found, reason) if reason else found for found in both_of)
    return AtEqual(tuple(sweep), reference, at, metric, level, one, difference, inside, len(found))


def _without_interval(interval: Interval, reason: str) -> Interval:
    return replace(interval, low=math.nan, high=math.nan, reason=reason)


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
