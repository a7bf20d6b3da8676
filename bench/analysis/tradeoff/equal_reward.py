"""Trade between two metrics along a sweep: how much of one there is at an equal amount of the other, and its price.

A sweep (one method at several settings) is drawn as a curve in the order of its settings, straight between neighbours;
nothing is extrapolated. The line is for the eye and for the number in the cell. What is surely better is decided
without it, supposing only that the curve is monotone (`bench.analysis.tradeoff.monotone`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.ratios import ratio_interval, surely_not_zero
from bench.analysis.stats import Floats, Interval
from bench.analysis.tradeoff.gaps import outermost
from bench.analysis.tradeoff.monotone import Setting, bounded_by_settings, oriented
from bench.analysis.tradeoff.pairs import Pairs


@dataclass(frozen=True, slots=True)
class AtEqual:
    """`metric` of a sweep where its `at` equals that of the reference method.

    `difference` is the sweep minus the method, in the metric's unit: its mean is read on the straight line, its limits
    are those against the sweep's settings and hold for any monotone curve; an end without a bound is infinite.
    """

    sweep: tuple[str, ...]
    reference: str
    at: str  # the metric that is held equal
    metric: str  # the metric that is read
    level: float  # the reference's `at`
    value: float  # the sweep's `metric` there, on the straight line
    difference: Interval
    p: float = math.nan  # that the curve passes through the method; below 0.05 where the limits exclude zero
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


def at_equal(pairs: Pairs, sweep: Sequence[str], reference: str, at: str, metric: str) -> AtEqual:
    """`metric` of the sweep's curve where its `at` equals the reference's, and the difference to the reference there.

    NaN with a reason where the sweep does not reach the reference's `at`, has it at several places, or is no trade-off.
    """
    xs = np.array([pairs.mean(name, at) for name in sweep])
    ys = np.array([pairs.mean(name, metric) for name in sweep])
    level, own = pairs.mean(reference, at), pairs.mean(reference, metric)
    found = crossings_of(np.where(np.isfinite(ys), xs, np.nan), level) if math.isfinite(level) else []
    value = float(interpolate(xs, ys, level)) if len(found) == 1 else math.nan
    reason = _why_not(found, xs, ys, pairs, at, metric, reference)
    p, n = math.nan, len(pairs.prompts)
    low, high = math.nan, math.nan
    if not reason:
        settings = [
            Setting(
                oriented(pairs.claimed(reference, name, at), pairs.metrics[at].higher),
                oriented(pairs.claimed(reference, name, metric), pairs.metrics[metric].higher),
            )
            for name in sweep
            if math.isfinite(pairs.mean(name, at)) and math.isfinite(pairs.mean(name, metric))
        ]
        bound = bounded_by_settings(settings)
        low, high, p = bound.low, bound.high, bound.p
        if not pairs.metrics[metric].higher:
            low, high = -high, -low
        if math.isinf(low) and math.isinf(high):
            low = high = math.nan
            reason = f"no setting has surely more, or less, {at} than {reference}: no limits"
    if len(found) != 1 or "trade-off" in reason:
        value = math.nan
    difference = Interval(value - own, low, high, n, 0, n, reason or None)
    return AtEqual(tuple(sweep), reference, at, metric, level, value, difference, p, len(found))


def _why_not(found: Sequence[float], xs: Floats, ys: Floats, pairs: Pairs, at: str, metric: str, reference: str) -> str:
    if not found:
        return f"the sweep does not reach the {at} of {reference}"
    if len(found) > 1:
        return f"the sweep has the {at} of {reference} at {len(found)} places of its curve: no one value"
    known = np.isfinite(xs) & np.isfinite(ys)
    x = xs[known] * (1 if pairs.metrics[at].higher else -1)
    y = ys[known] * (1 if pairs.metrics[metric].higher else -1)
    if x.size > 1 and y[np.argmax(x)] > y[np.argmin(x)]:
        return f"the sweep is no trade-off: more {at} comes with more {metric}"
    return ""


def at_equal_reward(pairs: Pairs, sweep: Sequence[str], reference: str, reward: str, diversity: str) -> AtEqual:
    """Diversity at equal reward: the sweep's diversity where its reward equals that of the reference."""
    return at_equal(pairs, sweep, reference, reward, diversity)


def at_equal_diversity(pairs: Pairs, sweep: Sequence[str], reference: str, reward: str, diversity: str) -> AtEqual:
    """Reward at equal diversity: the sweep's reward where its diversity equals that of the reference."""
    return at_equal(pairs, sweep, reference, diversity, reward)


def price(pairs: Pairs, method: str, base: str, reward: str, diversity: str) -> Interval:
    """What one unit of reward gained over `base` cost in diversity: loss of diversity / gain in reward.

    Both in their own direction, so a positive price is a loss. Unit: the diversity's per the reward's. Fieller's
    interval over prompts. NaN with a reason when the reward did not rise significantly: the ratio would have a
    denominator that may be zero. Where values are scored on one side only, all of it holds with the worst case there.
    """
    scored = [pairs.run(name).metrics for name in (method, base)]
    if absent := [metric for metric in (reward, diversity) if any(metric not in one for one in scored)]:
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, f"{absent[0]} is not scored for both")
    rewards, diversities = pairs.changes(base, method, reward), pairs.changes(base, method, diversity)
    found = [
        _price(gains, -changes, f"{reward} did not rise significantly over {base}")
        for gains, changes in itertools.product(rewards, diversities)
    ]
    gaps = pairs.gaps((base, method), (reward, diversity))
    if not gaps or not math.isfinite(found[0].mean):
        return found[0]
    broken = next((one for one in found if not math.isfinite(one.mean)), None)
    if broken is not None:
        return replace(broken, reason=f"{broken.reason} with the worst case in what is scored on one side only")
    return replace(outermost(found), reason=gaps)


def _price(gains: Floats, losses: Floats, reason: str) -> Interval:
    """From changes per cluster [C]; NaN with the reason where the reward did not surely rise."""
    known = np.isfinite(gains) & np.isfinite(losses)
    gains, losses = gains[known], losses[known]
    if not surely_not_zero(gains) or gains.mean() < 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0, gains.size, reason)
    return ratio_interval(losses, gains)
