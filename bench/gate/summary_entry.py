"""What the gate reads of a metric's entry in a summary, and the difference of two entries, paired where it can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.analysis.intervals import bounds_of, mean_interval, paired_difference
from bench.analysis.stats import Floats, Interval, independent_difference, jackknife_interval
from bench.store.cards import card_difference, card_in_summary

Entry = Mapping[str, Any]
_NUMBERS = ("mean", "ci_low", "ci_high")
# The protocol under which a baseline holds. Seeds and number formats may change: that is what a gate is for.
_PROTOCOL = ("sampler", "resolution")


def interval_of(entry: Entry, prompts: int = 0) -> Interval:
    """The interval in a metric's entry of a summary; null is NaN. Its clusters are the prompts that were scored."""
    mean, low, high = (math.nan if entry.get(key) is None else float(entry[key]) for key in _NUMBERS)
    clusters = len(entry.get("left_out") or entry.get("prompt_means") or ()) or prompts
    return Interval(mean, low, high, int(entry.get("n") or 0), int(entry.get("n_unscored") or 0), clusters)


def scored_prompts(entry: Entry, prompts: int) -> int:
    """How many prompts an entry rests on."""
    return len(entry.get("prompt_means") or ()) or prompts


def unscored_text(entry: Entry) -> str:
    """How many of an entry's values could not be scored, for instance "3 of 160 values unscored"; "" for none."""
    lost = int(entry.get("n_unscored") or 0)
    return f"{lost} of {int(entry.get('n') or 0) + lost} values unscored" if lost else ""


def lost_since(then: Entry, now: Entry) -> str:
    """What was scored then and is not now, as a clause: what fell out may be what got worse. "" for nothing."""
    before, after = then.get("prompt_means") or {}, now.get("prompt_means") or {}
    gone = len(before.keys() - after.keys()) if before and after else 0
    if gone:
        return f"{gone} of {len(before)} prompts of the baseline are unscored now"
    lost = int(now.get("n_unscored") or 0)
    return f"{lost} values are unscored" if lost > int(then.get("n_unscored") or 0) else ""


def paired_means(then: Entry, now: Entry) -> tuple[float, float]:
    """The two means whose difference `gap` is: over the prompts that both have, else as they stand in the entries."""
    old, new = _prompt_values(then, now)
    return (float(old.mean()), float(new.mean())) if old.size else (float(then["mean"]), float(now["mean"]))


def difference(then: Entry, now: Entry, same_order: bool, level: float = 0.95) -> Interval:
    """now - then, paired over the prompts' means or the blocks of a set metric; else of two separate intervals."""
    old, new = _prompt_values(then, now)
    if old.size:
        return _paired(then, now, old, new, level)
    before, after = then.get("left_out") or [], now.get("left_out") or []
    if same_order and before and len(before) == len(after):
        change = float(now["mean"]) - float(then["mean"])
        return jackknife_interval(change, np.asarray(after) - np.asarray(before), int(now.get("n") or 0), level)
    return _at_level(independent_difference(interval_of(then), interval_of(now)), level)


def _paired(then: Entry, now: Entry, old: Floats, new: Floats, level: float) -> Interval:
    """Over the prompts' means; pictures of equal sha256, all of them scored, differ by exactly nothing."""
    low, high = now.get("range") or (None, None)
    scored = not then.get("n_unscored") and not now.get("n_unscored")
    pictures = scored and bool(now.get("pictures")) and then.get("pictures") == now.get("pictures")
    bounds = bounds_of({"low": low, "high": high})
    return paired_difference(
        old, new, np.arange(old.size), level, bounds, identical=pictures or (None if scored else False)
    ).interval


def _at_level(interval: Interval, level: float) -> Interval:
    """A 95 % interval that was stored, widened to another level as a normal one is."""
    factor = NormalDist().inv_cdf(0.5 + level / 2) / NormalDist().inv_cdf(0.975)
    low, high = (
        interval.mean - (interval.mean - interval.low) * factor,
        interval.mean + (interval.high - interval.mean) * factor,
    )
    return replace(interval, low=low, high=high)


def relative_difference(then: Entry, now: Entry, same_order: bool, level: float = 0.95) -> Interval:
    """`difference` in percent of the old size. NaN with a reason where the old value may be zero.

    Paired by prompt, the interval also covers the uncertainty of the denominator; otherwise that is taken as it is.
    """
    size, absolute = abs(float(then["mean"])), difference(then, now, same_order, level)
    before = interval_of(then)
    if size == 0 or (math.isfinite(before.low) and not before.excludes_zero):
        reason = f"a percentage of {float(then['mean']):.4g}, which may be zero, is meaningless: use max_drop"
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, reason)
    scale = 100 / size
    old, new = _prompt_values(then, now)
    if old.size < 2:
        low, high = absolute.low * scale, absolute.high * scale
        return Interval(absolute.mean * scale, low, high, absolute.n, 0, absolute.clusters)
    # The ratio is straightened at its value (delta method): each prompt's change, less what its share of the
    # denominator accounts for. What remains is a mean over prompts like any other.
    if absolute.low == absolute.high:  # the same pictures
        return absolute
    base, mean = float(old.mean()), 100 * float(new.mean() - old.mean()) / abs(float(old.mean()))
    percent = 100 * (new - old) / abs(base) - mean * (old - base) / base
    return mean_interval(percent, np.arange(old.size), level=level)


def _prompt_values(then: Entry, now: Entry) -> tuple[Floats, Floats]:
    """The prompts' means of both, aligned on the prompts that both have."""
    before, after = then.get("prompt_means") or {}, now.get("prompt_means") or {}
    common = sorted(before.keys() & after.keys())
    return tuple(np.array([float(side[prompt]) for prompt in common]) for side in (before, after))  # type: ignore[return-value]


def same_order(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the blocks of both summaries' set metrics hold the same prompts."""
    return bool(now.get("prompt_order")) and then.get("prompt_order") == now.get("prompt_order")


def why_other(now: Mapping[str, Any], then: Mapping[str, Any], metric: Entry, old: Entry) -> str:
    """The field in which a summary and its baseline differ, as a clause; "" when the drop means something."""
    how = card_difference(card_in_summary(old), card_in_summary(metric))
    if how:
        return f"the metric was computed differently: {how} (then against now)"
    for what, a, b in (
        ("prompts", now.get("prompts_digest"), then.get("prompts_digest")),
        ("samples", now.get("samples"), then.get("samples")),
    ):
        if a is not None and b is not None and a != b:
            return f"{what} differs ({str(b)[:12]} then, {str(a)[:12]} now)"
    conditions, before = now.get("conditions") or {}, then.get("conditions") or {}
    for key in _PROTOCOL:
        if key in conditions and key in before and conditions[key] != before[key]:
            return f"{key} differs ({before[key]} then, {conditions[key]} now)"
    return ""
