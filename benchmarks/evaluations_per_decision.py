"""The headline: network evaluations that one decision takes, against separate runs, and against unpaired ones.

    python benchmarks/evaluations_per_decision.py [--results results/traps] [--trials 4000]

A decision is a difference of 2 x detects of N prompts (normal values) found to be on its side. What it takes here is

    prompts used   `bench run --until decided`, which looks at 32, 45, 64, ... prompts, in place of N; undecided: N
    shared trunk   base, refl, combined and imagerefl of `shapes` in one call, in place of four (`bench plan`)

Against runs that are not paired it also saves what pairing takes out of the variance of refl - base, measured on the
embedded suite (base and refl of one seed, refl of another; about two minutes of one core the first time):

    same prompts   variance with the same prompts and other noise / with other prompts
    same noise     variance with the same prompts and the same noise / and other noise

As many prompts as the variance is larger are needed for the same interval. The first look is at 32 prompts, so that at
N = 32 nothing but the shared trunk can save: the aim of 0.35 there is one that looks from 32 prompts up cannot meet.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

import bench
from bench.analysis.estimand import units_of
from bench.analysis.means import limits, mean_stats
from bench.analysis.stats import t_quantile
from bench.formatting import markdown_table
from bench.gate.ledger import look_level
from bench.pipeline.adaptive import looks
from bench.store.runs import Run, read_run

SEED = 20261128
AIMS = {32: 0.35, 128: 0.2, 512: 0.2}
METHODS = ["base", "refl", "combined", "imagerefl"]
METRICS = ("pickscore", "lpips")


def prompts_used(prompts: int, trials: int) -> tuple[float, float]:
    """The mean share of N prompts that is used until a difference of 2 x detects is decided, and its standard error."""
    rng = np.random.default_rng([SEED, prompts])
    effect = 2 * (t_quantile(0.975, prompts - 1) + t_quantile(0.9, prompts - 1)) / math.sqrt(prompts)
    values = effect + rng.normal(size=(trials, prompts))
    used, still = np.ones(trials), np.ones(trials, dtype=bool)
    sizes = looks(prompts)
    for look, number in enumerate(sizes, 1):
        low, high = limits(mean_stats(values[:, :number]), look_level(look, 1, len(sizes)))
        decided = still & ((low > 0) | (high < 0))
        used[decided] = number / prompts
        still &= ~decided
    return float(used.mean()), float(used.std(ddof=1) / math.sqrt(trials))


def trunk() -> float:
    """Network evaluations of the four methods in one call, as a share of those of four calls."""
    plan = bench.plan("shapes", METHODS)
    return plan.evaluations_shared / plan.evaluations_alone


def variances(results: Path, metric: str) -> tuple[float, float, float]:
    """Variance of a prompt's refl - base: other prompts; the same prompts; the same prompts and noise."""
    names: dict[str, Any] = {"metrics": list(METRICS), "results": results}
    base, refl = (read_run(store) for store in bench.run("shapes", ["base", "refl"], **names))
    (other,) = (read_run(store) for store in bench.run("shapes", ["refl"], seed=43, **names))
    a, b, c = (_means(run, metric) for run in (base, refl, other))
    return float(a.var(ddof=1) + c.var(ddof=1)), float((c - a).var(ddof=1)), float((b - a).var(ddof=1))


def _means(run: Run, metric: str) -> np.ndarray:
    return units_of(run, metric).prompt_means


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/traps"), help="folder of the runs")
    parser.add_argument("--trials", type=int, default=4000, help="decisions that are simulated for each N")
    arguments = parser.parse_args()
    shared = trunk()
    used = {prompts: prompts_used(prompts, arguments.trials) for prompts in AIMS}
    lines = []
    for prompts, (share, error) in used.items():
        whole, met = share * shared, share * shared <= AIMS[prompts]
        told = f"{whole:.3f} ± {1.96 * error * shared:.3f}"
        lines.append(
            [str(prompts), f"{share:.3f}", f"{shared:.3f}", told, f"{AIMS[prompts]:g}", "" if met else "MISSED"]
        )
    head = ("N", "prompts used", "shared trunk", "against separate runs of N prompts", "aim", "")
    print("\n".join(markdown_table(head, lines, right=range(5))), end="\n\n")
    lines = []
    for metric in METRICS:
        unpaired, prompts_only, both = variances(arguments.results, metric)
        parts = [prompts_only / unpaired, both / prompts_only]
        each = [f"{share * shared * math.prod(parts):.3f}" for share, _ in used.values()]
        lines.append([metric, *(f"{part:.3f}" for part in parts), *each])
    columns = ("refl - base in", "same prompts", "same noise", *(f"N = {prompts}" for prompts in used))
    print("against unpaired, separate runs that give the same interval:\n")
    print("\n".join(markdown_table(columns, lines, right=range(1, len(columns)))))


if __name__ == "__main__":
    main()
