"""Does the embedded suite show what the ImageReFL paper is about? Each claim with its interval, on one seed or several.

    python benchmarks/shapes_claims.py [--seeds 42 1] [--results results/seeds]

Every claim is a paired difference over prompts with its 95 % bootstrap interval, and holds when that lies wholly above
zero. Exit code 1 if one does not hold. (refl cannot dominate imagerefl when imagerefl is above it in diversity.)
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.analysis.compare import compare
from bench.analysis.differences import Difference
from bench.suite.load import load_suite

METHODS = ("base", "refl", "combined", "imagerefl")
REWARD = "pickscore"
HELD_OUT = ("hpsv2.1", "image_reward")
DIVERSITY = ("lpips", "dreamsim", "attribute_entropy")


@dataclass(frozen=True)
class Claim:
    """`high` is above `low` on every metric of `metrics`, or on one of them with `any_of`."""

    high: str
    low: str
    metrics: tuple[str, ...]
    any_of: bool = False

    def check(self, differences: dict[tuple[str, str], dict[str, Difference]]) -> bool:
        """Print a line a metric; whether the claim holds."""
        found = differences[self.low, self.high]
        held = []
        for metric in self.metrics:
            interval = found[metric].interval
            held.append(interval.low > 0)
            verdict = "holds" if held[-1] else "not by itself" if self.any_of else "DOES NOT HOLD"
            print(
                f"  {self.high:9} > {self.low:9} on {metric:18} {interval.mean:+.4f} "
                f"[{interval.low:+.4f}, {interval.high:+.4f}] {verdict}"
            )
        return any(held) if self.any_of else all(held)


CLAIMS = (
    Claim("refl", "base", (REWARD,)),
    Claim("refl", "base", HELD_OUT, any_of=True),
    Claim("base", "refl", DIVERSITY),
    Claim("combined", "refl", DIVERSITY),
    Claim("imagerefl", "refl", DIVERSITY),
    Claim("imagerefl", "base", (REWARD,)),
    Claim("imagerefl", "base", HELD_OUT, any_of=True),
)


def check_seed(seed: int, results: Path, samples: int | None) -> bool:
    """Run the four methods with this seed (or take what is there) and check every claim."""
    suite = load_suite("shapes").override(seed=seed, samples=samples)
    runs = dict(zip(METHODS, bench.run(suite, list(METHODS), results=results / f"seed{seed}"), strict=True))
    pairs = {(claim.low, claim.high) for claim in CLAIMS}
    differences = {
        (low, high): {difference.facts.name: difference for difference in compare(runs[low], runs[high]).differences}
        for low, high in pairs
    }
    print(f"seed {seed}")
    held = [claim.check(differences) for claim in CLAIMS]  # a list: every claim is printed
    return all(held)


def main() -> int:
    """Check all seeds; 0 if all claims hold on all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1])
    parser.add_argument("--samples", type=int, default=None)
    parser.add_argument("--results", type=Path, default=Path("results/seeds"))
    given = parser.parse_args()
    held = [check_seed(seed, given.results, given.samples) for seed in given.seeds]
    print("all claims hold" if all(held) else "NOT all claims hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
