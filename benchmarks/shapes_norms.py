"""Does "keeps diversity" come from the method or from tuning normalisation layers alone? The embedded suite, both ways.

    python benchmarks/shapes_norms.py [--seeds 1 2] [--shipped] [--out results/norms]

With torch 2.5 to 2.7 the official ImageReFL trainer trains normalisation layers only (docs/training.md). For each seed
refl and imagerefl are trained with all weights and with `learn=norms`, all else as shipped (a finished training is
taken as it is), and run on the suite: 32 prompts x 5 images, paired differences over prompts with 95 % intervals.
`price` is the diversity lost for one unit of reward gained over the base. `--shipped` takes the checkpoints of all
weights that are shipped (seeds 0, 1 and 2), and trains norms alone. About 15 minutes of one core a seed, or the half.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from shapes_claims import DIVERSITY

import bench
from bench.analysis.compare import compare
from bench.analysis.stats import Interval
from bench.analysis.tradeoff.equal_reward import price
from bench.analysis.tradeoff.pairs import pairs_of
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from bench.training import train
from bench.training.options import TrainOptions

REWARD = "pickscore"
METHODS = ("refl", "imagerefl")
PAIRS = (
    *((f"{method}{tuned}", "base") for method in METHODS for tuned in ("", "-norms")),
    ("imagerefl", "refl"),
    ("imagerefl-norms", "refl-norms"),
    ("refl-norms", "refl"),
    ("imagerefl-norms", "imagerefl"),
    ("refl-norms", "imagerefl"),
)


def checkpoint(objective: str, learn: str, seed: int, out: Path, shipped: bool) -> str:
    """The weights of a training; trained if they are not there."""
    if shipped and learn == "all":
        return f"shapes:{objective}-seed{seed}" if seed else f"shapes:{objective}"
    folder = out / f"{objective}-{learn}-seed{seed}"
    options = TrainOptions(
        objective, reward=REWARD, seed=seed, out=folder, device="cpu", settings={"learn": learn, "save_every": "25"}
    )
    train(objective, options)
    return str(folder)


def runs_of(seed: int, out: Path, shipped: bool) -> dict[str, RunStore]:
    """The runs of a seed by method: base, and each method with all weights and with norms."""
    suite = load_suite("shapes")
    methods = [resolve_method("base", suite)]
    for objective in METHODS:
        for learn, ending in (("all", ""), ("norms", "-norms")):
            made = checkpoint(objective, learn, seed, out, shipped)
            method = resolve_method(objective, suite, {"weights": made})
            methods.append(dataclasses.replace(method, name=f"{objective}{ending}"))
    stores = bench.run(suite, methods, results=out / f"seed{seed}", device="cpu")
    return dict(zip([method.name for method in methods], stores, strict=True))


def cell(interval: Interval) -> str:
    """ "+0.046 [+0.031, +0.060]", or why there is no interval."""
    if interval.reason:
        return interval.reason
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def tell(seed: int, runs: dict[str, RunStore]) -> None:
    """Print the differences of a seed as rows of a Markdown table."""
    metrics = (REWARD, "hpsv2.1", *DIVERSITY)
    print(f"\ntrained with seed {seed}\n\n| | {' | '.join(metrics)} |\n|---|{'---|' * len(metrics)}")
    for high, low in PAIRS:
        found = {
            difference.facts.name: difference.interval for difference in compare(runs[low], runs[high]).differences
        }
        print(f"| {high} - {low} | {' | '.join(cell(found[name]) for name in metrics)} |")
    names = list(runs)
    pairs = pairs_of([read_run(runs[name]) for name in names], names)
    print(f"\n| price of a unit of {REWARD} | {' | '.join(DIVERSITY)} |\n|---|{'---|' * len(DIVERSITY)}")
    for name in names[1:]:
        print(f"| {name} | {' | '.join(cell(price(pairs, name, 'base', REWARD, metric)) for metric in DIVERSITY)} |")


def main() -> int:
    """Train, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shipped", action="store_true", help="the shipped checkpoints of all weights, not new ones")
    parser.add_argument("--out", type=Path, default=Path("results/norms"))
    given = parser.parse_args()
    for seed in given.seeds:
        tell(seed, runs_of(seed, given.out, given.shipped))
    return 0


if __name__ == "__main__":
    sys.exit(main())
