"""Which method is best on a metric, and from which others it cannot be told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.judging import Joint


@dataclass(frozen=True, slots=True)
class Best:
    """The method with the best mean, and the others whose difference from it is not significant."""

    name: str
    tied: frozenset[str] = frozenset()

    @property
    def significant(self) -> bool:
        """True when it is better than every other method beyond the uncertainty."""
        return not self.tied


def best_of(joint: Joint) -> dict[str, Best]:
    """Metric -> best method, of the metrics that at least two methods were scored with.

    A difference is significant when its 95 % interval, paired by prompt, excludes zero. To be best is to win every
    comparison, so no correction for their number is due (intersection-union test, Berger 1982).
    """
    found = {}
    for metric in joint.metrics:
        means = {name: joint.value(name, metric)[0] for name in joint.methods}
        scored = {name: mean for name, mean in means.items() if math.isfinite(mean)}
        if len(scored) < 2:
            continue
        higher = joint.higher[joint.metric(metric)]
        top = (max if higher else min)(scored, key=lambda name: scored[name])
        tied = [name for name in scored if name != top and not joint.difference(name, top, metric).excludes_zero]
        found[metric] = Best(top, frozenset(tied))
    return found
