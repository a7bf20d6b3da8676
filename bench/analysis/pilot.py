"""What earlier runs say of a run that is planned: which differences it could tell, and how many prompts that takes.

The difference of two methods on a prompt has a part that is the prompt's, and a part that more images of the prompt
average away. With variances b and w of the two, N prompts x K images know the mean difference to (b + w / K) / N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.estimand import Units, paired_by_sample, units_of
from bench.analysis.means import SKEW_FACTOR, MeanStats, limits, mean_stats, two_sided
from bench.analysis.stats import POWER, t_quantile
from bench.store.runs import Run

LEVEL = 0.05  # at which the pilot's difference lies surely on one side
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """How one metric's difference varies: between prompts, between the images of a prompt (NaN: not known)."""

    metric: str
    kind: str
    of: str  # the two methods, for instance "refl - base"
    between: float
    within: float
    skew: float
    noise: float  # variance of one method's images of a prompt: what another seed changes
    prompts: int
    samples: int
    side: int = 0  # of zero on which the pilot's difference surely lies: 1 or -1; 0: not known

    def variance(self, samples: int) -> float:
        """Of the difference on one prompt with so many images; that of the pilot where images are not told apart."""
        return self.between if math.isnan(self.within) else self.between + self.within / samples

    def detects(self, prompts: int, samples: int, level: float = 0.95) -> float:
        """The smallest true difference that N x K tell with probability POWER, in the metric's unit.

        On the side where the pilot surely saw it; else on either side, of which one is harder where values are skewed.
        """
        return _detects(self.variance(samples), self.skew, prompts, level, self.side)

    def prompts_for(self, target: float, samples: int) -> float:
        """How many prompts tell a difference of `target`; infinite for more than ten millions."""
        low, high = 2, 4
        while self.detects(high, samples) > target:
            low, high = high, 2 * high
            if high > _MOST:
                return math.inf
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.detects(middle, samples) > target else (low, middle)
        return float(high)

    def samples_for(self, target: float, prompts: int) -> float:
        """How many images a prompt tell it with these prompts; infinite where no number does, NaN where not known."""
        if math.isnan(self.within):
            return math.nan
        samples = 1
        while self.detects(prompts, samples) > target:
            samples *= 2
            if samples > _MOST:
                return math.inf
        return float(next(k for k in range(samples // 2 + 1, samples + 1) if self.detects(prompts, k) <= target))

    def allowance(self, prompts: int, samples: int) -> float:
        """The largest drop that another seed makes by chance: what a gate must allow to pass, with probability POWER.

        NaN of a group metric: its seeds are not told apart from its prompts.
        """
        return math.nan if math.isnan(self.noise) else _detects(2 * self.noise / samples, 0.0, prompts, 0.95)


def _detects(variance: float, skew: float, prompts: int, level: float, side: int = 0) -> float:
    """(t of the level + t of the power) standard errors; the first off the limit that has to exclude zero.

    A difference above zero (`side` 1) is told by its lower limit; where the side is not known the wider one counts.
    """
    error = math.sqrt(variance / prompts)
    if error == 0:
        return 0.0
    stats = MeanStats(np.zeros(()), np.asarray(error), np.asarray(SKEW_FACTOR * skew / math.sqrt(prompts)), prompts)
    low, high = limits(stats, level)
    half = float(-low if side > 0 else high if side < 0 else max(-low, high))
    return half + t_quantile(POWER, prompts - 1) * error


def spreads(runs: Sequence[Run], reference: str = "base") -> list[Spread]:
    """Of every image and group metric: the difference to `reference` (else to the first run) that varies most."""
    if len(runs) < 2:
        return []
    lead = next((run for run in runs if run.method == reference), runs[0])
    found: dict[str, Spread] = {}
    for run in (run for run in runs if run is not lead):
        for metric in run.metrics.keys() & lead.metrics.keys():
            if run.metrics[metric].kind == "set":
                continue
            one = _spread(units_of(lead, metric), units_of(run, metric), run, lead, metric)
            known = found.get(metric)
            if one is not None and (known is None or one.variance(one.samples) > known.variance(known.samples)):
                found[metric] = one
    return [found[name] for name in lead.metrics if name in found]


def _spread(a: Units, b: Units, run: Run, lead: Run, metric: str) -> Spread | None:
    rows = np.isfinite(a.prompt_means) & np.isfinite(b.of(a.prompts).prompt_means)
    first, second = a.values[rows], b.of(a.prompts).values[rows]
    if len(first) < 3:
        return None
    shared = paired_by_sample(a, b) and first.shape == second.shape
    means = np.nanmean(second, axis=1) - np.nanmean(first, axis=1)
    samples, total = first.shape[1], float(means.var(ddof=1))
    within = noise = math.nan
    if samples > 1:
        noise = float(np.nanmean(np.nanvar(second, axis=1, ddof=1)))
        within = float(np.nanmean(np.nanvar(second - first, axis=1, ddof=1))) if shared else math.nan
        if not shared:
            within = noise + float(np.nanmean(np.nanvar(first, axis=1, ddof=1)))
    between = total if math.isnan(within) else max(0.0, total - within / samples)
    centred = means - means.mean()
    n = len(means)
    skew = float((centred**3).mean() / (centred**2).mean() ** 1.5) if total > 0 else 0.0
    skew *= math.sqrt(n * (n - 1)) / (n - 2)
    kind = run.metrics[metric].kind
    side = int(np.sign(means.mean())) if total > 0 and float(two_sided(mean_stats(means))) < LEVEL else 0
    return Spread(metric, kind, f"{run.method} - {lead.method}", between, within, skew, noise, n, samples, side)
