"""Over-optimisation: does the gain in the reward that a method was trained on show in metrics it was not trained on?

Gains have different units, so each is divided by the standard deviation of images in that metric, pooled over the base
and the method (a standardised mean difference, Cohen 1988, section 2.5): the base's alone is next to nothing in a
metric that it nearly always fulfils, and would make any loss there a huge one. The deviation is an estimate like the
mean, and its uncertainty is in every interval (`bench.analysis.tradeoff.standardised`). The index is 1 - held-out gain
/ gain in the trained reward: 0 when both gain alike, 1 when nothing transfers, above 1 when the held-out metrics fall.
Metrics differ in how far any method can move them, so the index compares methods under the same metrics; it is no
absolute measure. See Gao, Schulman & Hilton, Scaling Laws for Reward Model Overoptimization (2023).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.estimand import Pairing, Units, pair, units_of
from bench.analysis.ratios import pseudo_interval, ratio_interval, surely_not_zero
from bench.analysis.stats import Interval
from bench.analysis.tradeoff.gaps import gap_text, outermost, seen_of
from bench.analysis.tradeoff.standardised import Gain, PromptMoments, mean_gain, prompt_moments, standardised_gain
from bench.store.runs import Run
from metrics.types import is_official


@dataclass(frozen=True, slots=True)
class OverOptimisation:
    """Gains over the base in standard deviations of images, pooled over both, and what is lost between them."""

    method: str
    trained_on: tuple[str, ...]  # those of the declared rewards that were scored
    held_out: tuple[str, ...]
    in_gain: Interval  # mean over the trained rewards
    held_out_gain: Interval  # mean over the held-out metrics, all of one weight: see `gains` for each
    difference: Interval  # in_gain - held_out_gain
    index: (
        Interval  # 1 - held_out_gain / in_gain; NaN with a reason where the trained reward did not rise significantly
    )
    influence: tuple[float, ...]  # of each prompt on the index, around it; () without an index
    gains: dict[str, Interval]  # per metric, the trained ones first; positive is better in the metric's own direction
    gaps: str = ""  # what is scored on one side only, as a clause: all limits hold with the worst case there


def over_optimisation(runs: Sequence[Run], names: Sequence[str], base: str) -> list[OverOptimisation]:
    """Per method that declares what it was trained on (`Run.trained_on`): in-reward against held-out gain over `base`.

    `names` of the runs, `base` among them. Held out: image metrics that the method was not trained on, nor on another
    version of them, by the corrected protocol (the official one measures the same rewards a second time). Methods of
    which no declared reward or no held-out metric was scored are left out. Where a method and the base were not scored
    on the same units, all limits are the outermost ones with the gaps filled against the method and for it.
    """
    origin = runs[list(names).index(base)]
    images = [name for name, facts in origin.metrics.items() if facts.kind == "image" and not is_official(name)]
    seen = {name: seen_of(units_of(run, name).seen for run in runs if name in run.metrics) for name in images}
    found = []
    for method, run in zip(names, runs, strict=True):
        mine = [name for name in images if name in run.metrics and run is not origin]
        pairings = {name: pair(units_of(origin, name), units_of(run, name), seen[name]) for name in mine}
        gains = {
            name: cases
            for name, pairing in pairings.items()
            if (cases := _gains(pairing, 1.0 if origin.metrics[name].higher else -1.0))
        }
        families = {_family(name) for name in run.trained_on}
        trained = [name for name in gains if name in run.trained_on]
        held_out = [name for name in gains if _family(name) not in families]
        if trained and held_out:
            gaps = gap_text(pairings[name] for name in (*trained, *held_out))
            found.append(replace(_one(method, base, trained, held_out, gains), gaps=gaps))
    return found


def index_difference(a: OverOptimisation, b: OverOptimisation) -> Interval:
    """Index of b minus index of a, paired by prompt. NaN with a reason where either has none, or values are missing."""
    if not a.influence or not b.influence:
        reason = a.index.reason or b.index.reason or "no index"
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, reason)
    difference = b.index.mean - a.index.mean
    found = pseudo_interval([difference + y - x for x, y in zip(a.influence, b.influence, strict=True)])
    if gaps := a.gaps or b.gaps:
        return replace(found, low=math.nan, high=math.nan, reason=f"undecided: {gaps}")
    return found


def _family(metric: str) -> str:
    """hpsv2.1 and hpsv2 are one reward in two versions: neither is held out of training on the other."""
    return metric.split(".", 1)[0].split("@", 1)[0].split(":", 1)[0]


def _gains(pairing: Pairing, sign: float) -> list[Gain]:
    """The gain as scored, and where the scored units differ also the worst and the best it may be; [] without any."""
    found = [
        standardised_gain(_moments(a, pairing.clusters), _moments(b, pairing.clusters), sign) for a, b in pairing.sides
    ]
    known = [gain for gain in found if gain is not None]
    if len(known) < len(found):
        return []
    return known if len(known) < 3 or sign > 0 else [known[0], known[2], known[1]]


def _moments(units: Units, clusters: np.ndarray) -> PromptMoments:
    count = int(clusters.max()) + 1 if clusters.size else 0
    return prompt_moments(units.values.ravel(), np.repeat(clusters, units.values.shape[1]), count)


def _mean_cases(names: Sequence[str], gains: Mapping[str, list[Gain]]) -> list[Gain]:
    """The mean gain as scored, and the worst and the best where any of them has gaps."""
    cases = 3 if any(len(gains[name]) > 1 for name in names) else 1
    return [mean_gain([gains[name][min(case, len(gains[name]) - 1)] for name in names]) for case in range(cases)]


def _one(
    method: str, base: str, trained: list[str], held_out: list[str], gains: Mapping[str, list[Gain]]
) -> OverOptimisation:
    inside, outside = _mean_cases(trained, gains), _mean_cases(held_out, gains)
    both = list(itertools.product(inside, outside))  # the first is as scored
    influence: tuple[float, ...] = ()
    if all(surely_not_zero(one.pseudo) and one.value > 0 for one in inside):
        index = outermost([ratio_interval(one.pseudo - other.pseudo, one.pseudo) for one, other in both])
        ratio = outside[0].value / inside[0].value
        influence = tuple(((ratio * inside[0].pseudo - outside[0].pseudo) / inside[0].value).tolist())
    else:
        worst = " with the worst case in what is scored on one side only" if len(inside) > 1 else ""
        reason = f"{' and '.join(trained)} did not rise significantly over {base}{worst}"
        index = Interval(math.nan, math.nan, math.nan, 0, 0, inside[0].pseudo.size, reason)
    return OverOptimisation(
        method=method,
        trained_on=tuple(trained),
        held_out=tuple(held_out),
        in_gain=outermost([pseudo_interval(one.pseudo) for one in inside]),
        held_out_gain=outermost([pseudo_interval(one.pseudo) for one in outside]),
        difference=outermost([pseudo_interval(one.pseudo - other.pseudo) for one, other in both]),
        index=index,
        influence=influence,
        gains={name: outermost([pseudo_interval(one.pseudo) for one in gains[name]]) for name in (*trained, *held_out)},
    )
