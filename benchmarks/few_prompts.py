"""Which interval holds the mean of few prompts: the candidates that were weighed (docs/decisions/0004-intervals.md).

    python benchmarks/few_prompts.py [--trials N]

Coverage and mean width, relative to that of Student's t, in the worlds of benchmarks/interval_coverage.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from bench.analysis import stats
from bench.analysis.stats import Floats, Ints, bootstrap_means, draw_counts, expanded_tail

Limits = tuple[float, float]
N_RESAMPLES = 2000


def student(sums: Floats, counts: Ints) -> Limits:
    """Student's t on the ratio estimator."""
    return _hall(sums, counts, 0.0)


def expanded(sums: Floats, counts: Ints) -> Limits:
    """Expanded percentiles."""
    tail = expanded_tail(0.95, sums.size)
    low, high = np.quantile(bootstrap_means(sums, counts, N_RESAMPLES, 0), [tail, 1 - tail])
    return float(low), float(high)


def envelope(sums: Floats, counts: Ints) -> Limits:
    """The wider of the two above on either side."""
    a, b = student(sums, counts), expanded(sums, counts)
    return min(a[0], b[0]), max(a[1], b[1])


def bootstrap_t(sums: Floats, counts: Ints) -> Limits:
    """Studentised bootstrap (Davison & Hinkley 1997, section 5.2); rounds that do not vary count as infinite."""
    clusters, n = sums.size, counts.astype(np.float64)
    mean = float(sums.sum() / n.sum())
    columns = np.stack([sums, n, sums**2, sums * n, n * n], axis=1)
    drawn = np.concatenate([part.astype(np.float64) @ columns for part in draw_counts(clusters, N_RESAMPLES, 0)])
    means = drawn[:, 0] / drawn[:, 1]
    squares = np.maximum(drawn[:, 2] - 2 * means * drawn[:, 3] + means**2 * drawn[:, 4], 0)
    errors = np.sqrt(clusters / (clusters - 1) * squares) / drawn[:, 1]
    varies = errors > 1e-9
    still = np.where(means > mean, np.inf, np.where(means < mean, -np.inf, 0.0))
    t = np.sort(np.where(varies, (means - mean) / np.where(varies, errors, 1), still))
    error = math.sqrt(clusters / (clusters - 1) * float(np.sum((sums - mean * n) ** 2))) / float(n.sum())
    return mean - float(t[int(0.975 * N_RESAMPLES) - 1]) * error, mean - float(t[int(0.025 * N_RESAMPLES)]) * error


def _hall(sums: Floats, counts: Ints, most: float) -> Limits:
    kept, stats._MOST_SKEW = stats._MOST_SKEW, most
    try:
        return stats.skewed_t(sums, counts)
    finally:
        stats._MOST_SKEW = kept


CANDIDATES: dict[str, Callable[[Floats, Ints], Limits]] = {
    "Student's t": student,
    "expanded percentiles": expanded,
    "envelope of both": envelope,
    "bootstrap-t": bootstrap_t,
    "Hall, whole": lambda sums, counts: _hall(sums, counts, math.inf),
    "Hall, capped (used)": stats.skewed_t,
}


def worlds_module() -> ModuleType:
    """The worlds of the coverage benchmark."""
    spec = importlib.util.spec_from_file_location("interval_coverage", Path(__file__).with_name("interval_coverage.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def scores_of(module: ModuleType, kind: str, rng: np.random.Generator, prompts: int) -> tuple[Floats, Ints, float]:
    """Sums and counts per prompt, and the truth."""
    if kind == "mean pairwise distance":
        pairs, _ = module.distances(rng, prompts, 5)
        return pairs.reshape(prompts, -1).mean(axis=1), np.ones(prompts, dtype=np.int64), 2 / math.sqrt(math.pi)
    values = module.image_scores(kind)(rng, prompts, 5)
    return *stats.cluster_sums(values, np.repeat(np.arange(prompts), 5)), 0.0


def main() -> None:
    """Print a line a world: per candidate its coverage and its width against Student's t."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    given, module = parser.parse_args(), worlds_module()
    print("| world | prompts | " + " | ".join(CANDIDATES) + " |\n| :--- | ---: |" + " ---: |" * len(CANDIDATES))
    for kind in ("normal", "heavy tails", "skewed", "shares", "mean pairwise distance"):
        for prompts in (5, 8, 12, 20):
            held, widths = dict.fromkeys(CANDIDATES, 0), {name: [] for name in CANDIDATES}
            for trial in range(given.trials):
                sums, counts, truth = scores_of(module, kind, np.random.default_rng([7, trial]), prompts)
                for name, candidate in CANDIDATES.items():
                    low, high = candidate(sums, counts)
                    held[name] += low <= truth <= high
                    widths[name].append(high - low)
            usual = float(np.mean(widths["Student's t"]))
            cells = [
                f"{held[candidate] / given.trials:.1%} ({np.mean(widths[candidate]) / usual:.2f})"
                for candidate in CANDIDATES
            ]
            print(f"| {kind} | {prompts} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
