"""Do refl and imagerefl come out the same way when they are trained again from scratch with other seeds?

    python benchmarks/shapes_retrained.py [--seeds 1 2] [--out results/retrained]

For each training seed: `bench train refl` and `bench train imagerefl` with the shipped recipes (a finished training is
taken as it is), then the embedded suite with these checkpoints, and the claims of benchmarks/shapes_claims.py on paired
differences over prompts with their 95 % intervals. Exit code 1 if a claim that the shipped checkpoints meet does not
hold. About 10 minutes of one core a seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shapes_claims import CLAIMS

import bench
from bench.compare import compare
from bench.methods.resolve import resolve_method
from bench.suite import load_suite
from bench.training import train
from bench.training.options import TrainOptions

REWARD = "pickscore"


def checkpoint(objective: str, seed: int, out: Path) -> Path:
    """The checkpoint of a training with the shipped recipe; trained if it is not there."""
    folder = out / f"{objective}-{REWARD}-seed{seed}"
    train(objective, TrainOptions(objective, reward=REWARD, seed=seed, out=folder, device="cpu"))
    return folder


def check_seed(seed: int, out: Path) -> bool:
    """Train, run and compare; whether every claim holds."""
    made = {objective: str(checkpoint(objective, seed, out)) for objective in ("refl", "imagerefl")}
    suite = load_suite("shapes")
    methods = [resolve_method("base", suite)]
    for name, weights in (("refl", made["refl"]), ("combined", made["refl"]), ("imagerefl", made["imagerefl"])):
        methods.append(resolve_method(name, suite, {"weights": weights}))
    runs = dict(zip(("base", "refl", "combined", "imagerefl"), bench.run(suite, methods, results=out), strict=True))
    pairs = {(claim.low, claim.high) for claim in CLAIMS}
    differences = {
        (low, high): {one.facts.name: one for one in compare(runs[low], runs[high]).differences} for low, high in pairs
    }
    print(f"trained with seed {seed}", flush=True)
    held = [claim.check(differences) for claim in CLAIMS]  # a list: every claim is printed
    return all(held)


def main() -> int:
    """Check all seeds; 0 if all claims hold on all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/retrained"))
    given = parser.parse_args()
    held = [check_seed(seed, given.out) for seed in given.seeds]
    print("all claims hold" if all(held) else "NOT all claims hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
