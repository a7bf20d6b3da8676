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

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.estimand import prompt_clusters
from bench.analysis.ratios import pseudo_interval, ratio_interval, surely_not_zero
from bench.analysis.stats import Interval
from bench.analysis.summary import prompt_codes
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


def over_optimisation(runs: Sequence[Run], names: Sequence[str], base: str) -> list[OverOptimisation]:
    """Per method that declares what it was trained on (`Run.trained_on`): in-reward against held-out gain over `base`.

    `names` of the runs, `base` among them. Held out: image metrics that the method was not trained on, nor on another
    version of them, by the corrected protocol (the official one measures the same rewards a second time). Methods of
    which no declared reward or no held-out metric was scored are left out.
    """
    origin = runs[list(names).index(base)]
    images = [name for name, facts in origin.metrics.items() if facts.kind == "image" and not is_official(name)]
    before = {name: _moments(origin, name) for name in images}
    found = []
    for method, run in zip(names, runs, strict=True):
        gains: dict[str, Gain] = {}
        for name in (name for name in images if name in run.metrics and run is not origin):
            sign = 1.0 if origin.metrics[name].higher else -1.0
            gain = standardised_gain(before[name], _moments(run, name), sign)
            gains |= {name: gain} if gain is not None else {}
        families = {_family(name) for name in run.trained_on}
        trained = [name for name in gains if name in run.trained_on]
        held_out = [name for name in gains if _family(name) not in families]
        if trained and held_out:
            found.append(_one(method, base, trained, held_out, gains))
    return found


def index_difference(a: OverOptimisation, b: OverOptimisation) -> Interval:
    """Index of b minus index of a, paired by prompt. NaN with a reason where either has none."""
    if not a.influence or not b.influence:
        reason = a.index.reason or b.index.reason or "no index"
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0, reason)
    difference = b.index.mean - a.index.mean
    return pseudo_interval([difference + y - x for x, y in zip(a.influence, b.influence, strict=True)])


def _family(metric: str) -> str:
    """hpsv2.1 and hpsv2 are one reward in two versions: neither is held out of training on the other."""
    return metric.split(".", 1)[0].split("@", 1)[0].split(":", 1)[0]


def _moments(run: Run, metric: str) -> PromptMoments:
    rows = run.rows(metric)
    codes = prompt_codes(run, rows)
    return prompt_moments(rows["value"].to_numpy(dtype=float), codes, len(set(prompt_clusters(run).values())))


def _one(method: str, base: str, trained: list[str], held_out: list[str], gains: dict[str, Gain]) -> OverOptimisation:
    inside, outside = mean_gain([gains[name] for name in trained]), mean_gain([gains[name] for name in held_out])
    influence: tuple[float, ...] = ()
    if surely_not_zero(inside.pseudo) and inside.value > 0:
        index = ratio_interval(inside.pseudo - outside.pseudo, inside.pseudo)
        ratio = outside.value / inside.value
        influence = tuple(((ratio * inside.pseudo - outside.pseudo) / inside.value).tolist())
    else:
        reason = f"{' and '.join(trained)} did not rise significantly over {base}"
        index = Interval(math.nan, math.nan, math.nan, 0, 0, inside.pseudo.size, reason)
    return OverOptimisation(
        method=method,
        trained_on=tuple(trained),
        held_out=tuple(held_out),
        in_gain=pseudo_interval(inside.pseudo),
        held_out_gain=pseudo_interval(outside.pseudo),
        difference=pseudo_interval(inside.pseudo - outside.pseudo),
        index=index,
        influence=influence,
        gains={name: pseudo_interval(gains[name].pseudo) for name in (*trained, *held_out)},
    )
