"""Do refl and imagerefl come out the same way when they are trained again from scratch with other seeds?

    python benchmarks/shapes_retrained.py [--seeds 1 2] [--shipped] [--out results/retrained]

For each training seed: `bench train refl` and `bench train imagerefl` with the shipped recipes (a finished training is
taken as it is), then the embedded suite with these checkpoints. The order asked for: in the reward refl above imagerefl
above base, in diversity base and imagerefl above refl; each is a paired difference over prompts and holds when its 95 %
interval lies above zero. The other claims of benchmarks/shapes_claims.py are printed as well. Exit code 1 if the order
is another. About 10 minutes of one core a seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shapes_claims import CLAIMS, DIVERSITY, Claim

import bench
from bench.analysis.compare import compare
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from bench.training import train
from bench.training.options import TrainOptions

REWARD = "pickscore"
ORDER = (
    Claim("refl", "base", (REWARD,)),
    Claim("imagerefl", "base", (REWARD,)),
    Claim("refl", "imagerefl", (REWARD,)),
    Claim("base", "refl", DIVERSITY),
    Claim("imagerefl", "refl", DIVERSITY),
)
OTHERS = tuple(claim for claim in CLAIMS if claim not in ORDER)


def checkpoint(objective: str, seed: int, out: Path) -> Path:
    """The checkpoint of a training with the shipped recipe; trained if it is not there."""
    folder = out / f"{objective}-{REWARD}-seed{seed}"
    train(objective, TrainOptions(objective, reward=REWARD, seed=seed, out=folder, device="cpu"))
    return folder


def check_seed(seed: int, out: Path, shipped: bool) -> bool:
    """Train (or take what is shipped), run and compare; whether the order is the shipped one."""
    made = {
        objective: f"shapes:{objective}-seed{seed}" if shipped else str(checkpoint(objective, seed, out))
        for objective in ("refl", "imagerefl")
    }
    suite = load_suite("shapes")
    methods = [resolve_method("base", suite)]
    for name, weights in (("refl", made["refl"]), ("combined", made["refl"]), ("imagerefl", made["imagerefl"])):
        methods.append(resolve_method(name, suite, {"weights": weights}))
    runs = dict(zip(("base", "refl", "combined", "imagerefl"), bench.run(suite, methods, results=out), strict=True))
    pairs = {(claim.low, claim.high) for claim in (*ORDER, *OTHERS)}
    differences = {
        (low, high): {difference.facts.name: difference for difference in compare(runs[low], runs[high]).differences}
        for low, high in pairs
    }
    print(f"trained with seed {seed}: the order", flush=True)
    held = [claim.check(differences) for claim in ORDER]  # a list: every claim is printed
    print(f"trained with seed {seed}: the other claims", flush=True)
    for claim in OTHERS:
        claim.check(differences)
    return all(held)


def main() -> int:
    """Check all seeds; 0 if all show the order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/retrained"))
    parser.add_argument("--shipped", action="store_true", help="the shipped checkpoints of seeds 1 and 2, not new ones")
    given = parser.parse_args()
    held = [check_seed(seed, given.out, given.shipped) for seed in given.seeds]
    print("the same order on all seeds" if all(held) else "NOT the same order on all seeds")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
