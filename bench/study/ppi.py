"""Prediction-powered inference: few votes and many scores give a narrower interval that stays valid. Pure.

Angelopoulos, Bates, Fannjiang, Jordan & Zrnic (2023), Prediction-powered inference, Science 382, with the weight of
the predictions tuned as in Angelopoulos, Duchi & Zrnic (2023), PPI++, equation 8:

    estimate = mean(labels - l * predictions, labelled) + l * mean(predictions, unlabelled).

The predictions need not be right: a bad one gets l = 0, and the votes alone are left. Both means are clustered by
prompt (and labels by rater, too); one prompt may have both kinds of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.analysis.stats import Interval, t_quantile
from bench.study.clusters import Floats, Ints, two_way


@dataclass(frozen=True, slots=True)
class Powered:
    """The estimate with its interval, the one of the labels alone, and the weight l in [0, 1] of the predictions."""

    estimate: Interval
    classical: Interval
    weight: float
    n: int  # labels
    n_unlabelled: int


def ppi_mean(
    labels: ArrayLike,
    predictions: ArrayLike,
    unlabelled: ArrayLike,
    prompts: ArrayLike | None = None,
    unlabelled_prompts: ArrayLike | None = None,
    raters: ArrayLike | None = None,
    level: float = 0.95,
) -> Powered:
    """The mean of labels [n] with predictions [n] of the same rows, and predictions [N] of rows without a label.

    `prompts` [n] and `unlabelled_prompts` [N] are clusters (None: every row is its own), `raters` [n] those of labels.
    ValueError: lengths that differ.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=1000)
    >>> found = ppi_mean(truth[:50] + rng.normal(size=50) / 5, truth[:50], truth[50:])
    >>> width = lambda one: one.high - one.low
    >>> width(found.estimate) < 0.5 * width(found.classical)
    True
    """
    y, f, g = (np.asarray(one, dtype=np.float64) for one in (labels, predictions, unlabelled))
    n, many = y.size, g.size
    if f.size != n:
        raise ValueError(f"{n} labels and {f.size} predictions of them must be of one length")
    first, second = _labels(prompts, unlabelled_prompts, n, many)
    rater = np.arange(n) if raters is None else np.unique(np.asarray(raters), return_inverse=True)[1]
    weight = _weight(y, f, g, first, second)
    clusters = len(np.unique(first))
    classical = _interval(y, g, 0.0, f, (first, second, rater), clusters - 1, level)
    # the weight was found on the same labels: one more degree of freedom is spent
    powered = _interval(y, g, weight, f, (first, second, rater), clusters - 2 if weight else clusters - 1, level)
    return Powered(powered, classical, weight, n, many)


def _labels(prompts: ArrayLike | None, others: ArrayLike | None, n: int, many: int) -> tuple[Ints, Ints]:
    """Clusters of both kinds of rows with numbers in common."""
    if prompts is None and others is None:
        return np.arange(n), np.arange(n, n + many)
    names = [*np.asarray(prompts).tolist(), *np.asarray(others).tolist()]
    if len(names) != n + many:
        raise ValueError(f"{n} labels and {many} unlabelled rows need a prompt each, not {len(names)}")
    index = np.unique(names, return_inverse=True)[1]
    return index[:n], index[n:]


def _weight(y: Floats, f: Floats, g: Floats, prompts: Ints, others: Ints) -> float:
    """The l in [0, 1] with the least variance, from sums by prompt."""
    if y.size < 3 or g.size == 0:
        return 0.0
    total = int(max(prompts.max(), others.max())) + 1
    of_y = np.bincount(prompts, weights=(y - y.mean()) / y.size, minlength=total)
    of_f = np.bincount(prompts, weights=(f - f.mean()) / f.size, minlength=total)
    of_f = of_f - np.bincount(others, weights=(g - g.mean()) / g.size, minlength=total)
    spread = float(of_f @ of_f)
    return min(1.0, max(0.0, float(of_y @ of_f) / spread)) if spread > 1e-300 else 0.0


def _interval(
    y: Floats, g: Floats, weight: float, f: Floats, labels: tuple[Ints, Ints, Ints], freedom: int, level: float
) -> Interval:
    prompts, others, raters = labels
    rest = y - weight * f
    share = weight * float(g.mean()) if g.size and weight else 0.0
    value = float(rest.mean()) + share
    raters_n = len(np.unique(raters))
    freedom = min(freedom, raters_n - 1)
    if freedom < 1:
        return Interval(value, math.nan, math.nan, y.size, 0, len(np.unique(prompts)), "no interval: too few labels")
    influence = (rest - rest.mean()) / y.size
    if weight:  # residuals are too small where a slope was fitted: as those of a jackknife (HC3), with mean leverage
        clusters = len(np.unique(prompts))
        influence = influence * (clusters - 1) / max(clusters - 2, 1)
        influence = np.append(influence, weight * (g - g.mean()) / g.size)
        prompts = np.append(prompts, others)
        # rows without a label have no rater: each is a rater of its own
        raters = np.append(raters, raters.max() + 1 + np.arange(g.size))
    variance = two_way(influence, raters, prompts).variance()
    half = t_quantile(0.5 + level / 2, freedom) * math.sqrt(variance)
    return Interval(value, value - half, value + half, y.size, 0, len(np.unique(prompts)))
