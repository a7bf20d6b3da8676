"""Over-optimisation: does the gain in the reward that a method was trained on show in metrics it was not trained on?

Gains have different units, so each is divided by the standard deviation of images in that metric, pooled over the base
and the method (a standardised mean difference, Cohen 1988, section 2.5): the base's alone is next to nothing in a
metric that it nearly always fulfils, and would make any loss there a huge one. The index is 1 - held-out gain / gain in
the trained reward: 0 when both gain alike, 1 when nothing transfers, above 1 when the held-out metrics fall. Metrics
differ in how far any method can move them, so the index compares methods under the same metrics; it is no absolute
measure. See Gao, Schulman & Hilton, Scaling Laws for Reward Model Overoptimization (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.stats import Floats, Interval
from bench.analysis.tradeoff.joint import Joint
from bench.store.runs import Run


@dataclass(frozen=True, slots=True)
class OverOptimisation:
    """Gains over the base in standard deviations of images, pooled over both, and what is lost between them."""

    method: str
    trained_on: tuple[str, ...]  # those of the declared rewards that were scored
    held_out: tuple[str, ...]
    in_gain: Interval  # mean over the trained rewards
    held_out_gain: Interval  # mean over the held-out metrics, all of one weight: see `gains` for each
    difference: Interval  # in_gain - held_out_gain
    index: Interval  # 1 - held_out_gain / in_gain; NaN with a reason where the trained reward did not surely rise
    gains: dict[str, Interval]  # per metric, the trained ones first; positive is better in the metric's own direction


def over_optimisation(joint: Joint, runs: Sequence[Run], base: str) -> list[OverOptimisation]:
    """Per method that declares what it was trained on (`Run.trained_on`): in-reward against held-out gain over `base`.

    `runs` in the order of `joint.methods`; `base` is a name of it. Held out: image metrics that the method was not
    trained on, nor on another version of them. Methods of which no declared reward or no held-out metric was scored
    are left out.
    """
    origin = joint.method(base)
    images = [name for name, facts in runs[origin].metrics.items() if facts.kind == "image" and name in joint.metrics]
    before = {name: _variance(runs[origin], name) for name in images}
    found = []
    for i, (method, run) in enumerate(zip(joint.methods, runs, strict=True)):
        scored = [name for name in images if math.isfinite(joint.means[i, joint.metric(name)])]
        deviations = {name: math.sqrt((before[name] + _variance(run, name)) / 2) for name in scored}
        mine = [name for name in scored if deviations[name] > 0]
        trained = [name for name in mine if name in run.trained_on]
        families = {_family(name) for name in run.trained_on}
        held_out = [name for name in mine if _family(name) not in families]
        if i != origin and trained and held_out:
            found.append(_one(joint, method, base, trained, held_out, deviations))
    return found


def _family(metric: str) -> str:
    """hpsv2.1 and hpsv2 are one reward in two versions: neither is held out of training on the other."""
    return metric.split(".", 1)[0].split("@", 1)[0].split(":", 1)[0]


def _variance(run: Run, metric: str) -> float:
    values = run.rows(metric)["value"].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(values.var(ddof=1)) if values.size > 1 else 0.0


def _one(
    joint: Joint, method: str, base: str, trained: list[str], held_out: list[str], deviations: dict[str, float]
) -> OverOptimisation:
    gains = {name: _gain(joint, method, base, name, deviations[name]) for name in (*trained, *held_out)}
    inside, outside = _mean_of([gains[name] for name in trained]), _mean_of([gains[name] for name in held_out])
    in_gain = joint.interval(*inside)
    if in_gain.low > 0:
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.where(inside[1] > 0, 1 - outside[1] / inside[1], np.nan)
        index = joint.interval(1 - outside[0] / inside[0], draws)
    else:
        reason = f"{' and '.join(trained)} did not surely rise over {base}"
        index = Interval(math.nan, math.nan, math.nan, 0, 0, joint.clusters, reason)
    return OverOptimisation(
        method=method,
        trained_on=tuple(trained),
        held_out=tuple(held_out),
        in_gain=in_gain,
        held_out_gain=joint.interval(*outside),
        difference=joint.interval(inside[0] - outside[0], inside[1] - outside[1]),
        index=index,
        gains={name: joint.interval(*gain) for name, gain in gains.items()},
    )


def _gain(joint: Joint, method: str, base: str, metric: str, deviation: float) -> tuple[float, Floats]:
    sign = 1.0 if joint.higher[joint.metric(metric)] else -1.0
    (mean, draws), (before, draws_before) = joint.value(method, metric), joint.value(base, metric)
    return sign * (mean - before) / deviation, sign * (draws - draws_before) / deviation


def _mean_of(gains: Sequence[tuple[float, Floats]]) -> tuple[float, Floats]:
    return float(np.mean([mean for mean, _ in gains])), np.mean([draws for _, draws in gains], axis=0)
