"""Where the path of a training bends: up to which checkpoint quality came cheaply, and diversity pays from there on.

The path goes from the base model through the checkpoints in their order. Gain and cost are scaled to the path's own
ranges, gain_i = (q_i - q_0) / (max q - q_0) and cost_i = (d_0 - d_i) / (d_0 - min d), and the bend is the checkpoint
whose gain exceeds its cost most: the knee of the curve (Satopaa et al., Finding a "Kneedle" in a Haystack, 2011,
section II). How sure it is, is the share of joint bootstrap resamples over prompts that have their knee there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import Floats
from bench.analysis.tradeoff.joint import Joint


@dataclass(frozen=True, slots=True)
class Bend:
    """The method at which the path bends and the share of resamples that agree, or why there is none to name."""

    method: str | None
    share: float = 0.0
    reason: str = ""


def bend_of(joint: Joint, path: Sequence[str], quality: str, diversity: str) -> Bend:
    """The bend of a path of methods, the base first. A metric whose lower values are better counts negative."""
    if len(path) < 4:
        return Bend(None, reason=f"a bend needs at least 3 checkpoints beside the base, got {len(path) - 1}")
    columns = [joint.method(name) for name in path]
    signs = [1.0 if joint.higher[joint.metric(name)] else -1.0 for name in (quality, diversity)]
    means, draws = joint.points(quality, diversity)
    means, draws = means[columns] * signs, draws[:, columns] * signs
    if not np.isfinite(means).all():
        return Bend(None, reason=f"not every checkpoint has values of {quality} and {diversity}")
    best, least = int(means[:, 0].argmax()), int(means[:, 1].argmin())
    gain = joint.interval(float(means[best, 0] - means[0, 0]), draws[:, best, 0] - draws[:, 0, 0])
    if not gain.low > 0:
        return Bend(None, reason=f"{quality} has not risen above the base beyond its uncertainty")
    loss = joint.interval(float(means[0, 1] - means[least, 1]), draws[:, 0, 1] - draws[:, least, 1])
    if not loss.low > 0:
        return Bend(None, reason=f"{diversity} has not fallen below the base beyond its uncertainty")
    [knee] = _knees(means[None])
    if knee in (0, len(path) - 1):
        return Bend(None, reason="gain and loss have kept pace so far: no checkpoint stands out")
    with np.errstate(invalid="ignore", divide="ignore"):
        share = float(np.mean(_knees(draws) == knee))
    return Bend(path[knee], share)


def _knees(points: Floats) -> NDArray[np.int64]:
    """The index of the largest gain - cost of each path: points [resamples, methods, 2] -> [resamples]."""
    gain = (points[..., 0] - points[:, :1, 0]) / (points[..., 0].max(axis=1) - points[:, 0, 0])[:, None]
    cost = (points[:, :1, 1] - points[..., 1]) / (points[:, 0, 1] - points[..., 1].min(axis=1))[:, None]
    return np.asarray(np.nan_to_num(gain - cost, nan=-np.inf).argmax(axis=1))
