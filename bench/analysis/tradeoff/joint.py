"""One bootstrap for a whole table: in each resample the same prompts are drawn for all methods and all metrics.

Only so is what is computed of several means (a front, a difference, a ratio) drawn with the correlations that the
shared prompts and the shared noise give them.

Image and group metrics: the mean over the drawn prompts (Davison & Hinkley 1997, section 3.8). A set metric has no
value per prompt; its draws are made of its delete-a-block jackknife: with the pseudo-values psi_b of the blocks of
prompts (Efron & Tibshirani 1993, section 11.5), a draw is the value plus the sum over blocks of psi_b - mean(psi), each
weighted by how much more often than expected the block's prompts were drawn. That is normal to first order, has the
jackknife's interval (Student's t of the blocks, not of the prompts), and keeps the pairing between methods. Without
jackknife rows it is the same in all resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import Floats, Interval, draw_counts, expanded_tail, t_quantile

if TYPE_CHECKING:
    from bench.store.runs import MetricFacts, Run

N_RESAMPLES = 2000
# Share of the resamples in which something has to be computable: fewer are a selection, with percentiles of its own.
ENOUGH = 0.975


@dataclass(frozen=True)
class Joint:
    """Means [methods, metrics] and their joint draws [resamples, methods, metrics], in the metrics' own units.

    NaN: the method was not scored with the metric, or no value could be scored. `clusters` is the number of prompts.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    higher: tuple[bool, ...]  # per metric: higher is better
    means: Floats = field(repr=False)
    draws: Floats = field(repr=False)
    clusters: int
    level: float = 0.95
    still: tuple[str, ...] = ()  # set metrics without jackknife rows: they do not vary over the resamples

    def method(self, name: str) -> int:
        """Index of a method; KeyError with the known ones."""
        return _index(self.methods, name, "method")

    def metric(self, name: str) -> int:
        """Index of a metric; KeyError with the known ones."""
        return _index(self.metrics, name, "metric")

    def value(self, method: str, metric: str) -> tuple[float, Floats]:
        """Mean and draws [resamples] of one cell."""
        i, k = self.method(method), self.metric(metric)
        return float(self.means[i, k]), self.draws[:, i, k]

    def points(self, *metrics: str) -> tuple[Floats, Floats]:
        """Means [methods, D] and draws [resamples, methods, D] of some metrics."""
        indices = [self.metric(name) for name in metrics]
        return self.means[:, indices], self.draws[:, :, indices]

    def interval(self, estimate: float, draws: Floats) -> Interval:
        """Expanded percentile interval of anything computed of the draws [resamples]; `n` counts prompts.

        Resamples in which it could not be computed (NaN) are left out; fewer than 97.5 % of them give no interval.
        """
        finite = draws[np.isfinite(draws)]
        if not math.isfinite(estimate):
            return Interval(estimate, math.nan, math.nan, 0, 0, self.clusters, "no value could be computed")
        if self.clusters < 2:
            return Interval(estimate, math.nan, math.nan, self.clusters, 0, self.clusters, "one prompt only")
        if finite.size < ENOUGH * draws.size:
            reason = f"could be computed in {finite.size / draws.size:.0%} of the resamples only: no interval"
            return Interval(estimate, math.nan, math.nan, self.clusters, 0, self.clusters, reason)
        tail = expanded_tail(self.level, self.clusters)
        low, high = np.quantile(finite, [tail, 1 - tail])
        return Interval(estimate, float(low), float(high), self.clusters, 0, self.clusters)

    def cell(self, method: str, metric: str) -> Interval:
        """The mean of a method on a metric with its interval."""
        if metric in self.still:
            mean = self.value(method, metric)[0]
            return Interval(mean, math.nan, math.nan, 0, 0, 0, "one value for the whole set: no interval")
        return self.interval(*self.value(method, metric))

    def difference(self, a: str, b: str, metric: str) -> Interval:
        """b - a on a metric, paired by prompt."""
        (mean_a, draws_a), (mean_b, draws_b) = self.value(a, metric), self.value(b, metric)
        if metric in self.still:
            return Interval(mean_b - mean_a, math.nan, math.nan, 0, 0, 0, "one value for the whole set: no pairs")
        return self.interval(mean_b - mean_a, draws_b - draws_a)


def _index(names: Sequence[str], name: str, kind: str) -> int:
    if name not in names:
        raise KeyError(f"unknown {kind} {name!r}: there are {', '.join(names)}")
    return list(names).index(name)


def joint_means(sums: Floats, counts: Floats, n_resamples: int = N_RESAMPLES, seed: int = 0) -> tuple[Floats, Floats]:
    """Means [...] and draws [resamples, ...] of per-prompt sums and counts, both [prompts, ...]; no count gives NaN."""
    prompts, shape = sums.shape[0], sums.shape[1:]
    columns = np.concatenate([sums.reshape(prompts, -1), counts.reshape(prompts, -1)], axis=1)
    parts = [drawn.astype(np.float64) @ columns for drawn in draw_counts(prompts, n_resamples, seed)]
    # Sums and counts are drawn together and then divided: a prompt without a value for one metric leaves the others'
    # draws as they are, so that they stay paired.
    drawn_sums, drawn_counts = np.split(np.concatenate(parts), 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = np.where(drawn_counts > 0, drawn_sums / drawn_counts, np.nan)
        total = counts.sum(axis=0)
        means = np.where(total > 0, sums.sum(axis=0) / total, np.nan)
    return means, draws.reshape(n_resamples, *shape)


def joint_jackknife(
    whole: float, left_out: Floats, blocks: NDArray[np.int64], n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Floats:
    """[resamples] draws of a set metric from its leave-one-block-out values [B]; `blocks` [prompts] holds indices.

    Of fewer than two blocks, `whole` in every resample.
    """
    n_blocks = left_out.size
    if n_blocks < 2:
        return np.full(n_resamples, whole)
    pseudo = n_blocks * whole - (n_blocks - 1) * left_out
    size = np.bincount(blocks, minlength=n_blocks).astype(np.float64)
    # A block's mean weight varies less than a prompt's by its size; the pseudo-value is a mean of as many prompts.
    share = (pseudo - pseudo.mean()) / np.sqrt(np.maximum(size, 1)) / n_blocks * math.sqrt(n_blocks / (n_blocks - 1))
    # Few blocks know their own spread less well than many prompts do: the interval is to be the jackknife's.
    share *= t_quantile(0.975, n_blocks - 1) / t_quantile(0.975, max(1, blocks.size - 1))
    per_prompt = share[blocks]
    parts = [(drawn.astype(np.float64) - 1) @ per_prompt for drawn in draw_counts(blocks.size, n_resamples, seed)]
    return np.asarray(whole + np.concatenate(parts))


def joint_bootstrap(
    runs: Sequence[Run],
    names: Sequence[str] | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Joint:
    """The joint draws of comparable runs. `names` are the methods' names in the result (default: display names).

    Metrics are those that any run has. Same seed, same numbers, whatever the order of runs; cells have
    percentile intervals, where the tables have the closed form of `bench.analysis.summary.metric_interval`.
    """
    from bench.store.select import display_names

    methods = tuple(names if names is not None else display_names(runs))
    facts: dict[str, MetricFacts] = {name: one for run in runs for name, one in run.metrics.items()}
    codes = {prompt_id: code for code, (prompt_id, _) in enumerate(runs[0].prompts)}
    shape = (len(codes), len(runs), len(facts))
    sums, counts = np.zeros(shape), np.zeros(shape)
    for i, run in enumerate(runs):
        for k, (name, one) in enumerate(facts.items()):
            if name in run.metrics and one.kind != "set":
                sums[:, i, k], counts[:, i, k] = _prompt_sums(run, name, codes)
    means, draws = joint_means(sums, counts, n_resamples, seed)
    still: list[str] = []
    for k, (name, one) in enumerate(facts.items()):
        if one.kind == "set":
            varies = [_set_draws(run, name, codes, means[i], draws[:, i], k, seed) for i, run in enumerate(runs)]
            still += [] if all(varies) else [name]
    higher = tuple(one.higher for one in facts.values())
    return Joint(methods, tuple(facts), higher, means, draws, len(codes), level, tuple(still))


def _prompt_sums(run: Run, metric: str, codes: dict[str, int]) -> tuple[Floats, Floats]:
    rows = run.rows(metric)
    values = rows["value"].to_numpy(dtype=np.float64)
    indices = rows["prompt_id"].map(codes).fillna(-1).to_numpy(dtype=np.int64)
    keep = np.isfinite(values) & (indices >= 0)
    sums = np.bincount(indices[keep], weights=values[keep], minlength=len(codes))
    counts = np.bincount(indices[keep], minlength=len(codes))
    return sums / np.maximum(counts, 1), (counts > 0).astype(np.float64)  # the mean is over prompts


def _set_draws(
    run: Run, metric: str, codes: dict[str, int], means: Floats, draws: Floats, column: int, seed: int
) -> bool:
    """Put a set metric's value and draws into their column; False when it has a value but no jackknife rows."""
    from bench.analysis.summary import left_out_values

    rows = run.rows(metric)
    values = rows["value"].to_numpy(dtype=np.float64)
    value = float(values[0]) if len(values) else math.nan
    means[column] = value
    left_out = np.asarray(left_out_values(run, metric), dtype=np.float64)
    order = [codes[prompt_id] for prompt_id, _ in run.prompts if prompt_id in codes]  # blocks follow the run's order
    blocks = np.empty(len(codes), dtype=np.int64)
    blocks[order] = np.arange(len(order)) * max(1, left_out.size) // len(order)
    draws[:, column] = joint_jackknife(value, left_out, blocks, draws.shape[0], seed)
    return left_out.size >= 2 or not math.isfinite(value)
