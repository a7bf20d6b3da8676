"""What sharing the first steps saves: four methods in one call against four calls, on the embedded suite.

    python benchmarks/shared_trunk.py [--prompts N] [--rounds R]

Both sides run in turn in this process, so that a machine whose speed drifts favours neither; each round's ratio is
printed, with the network evaluations that the manifests count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import bench
from bench.store import RunStore
from bench.suite import load_suite

METHODS = ("base", "refl", "combined", "imagerefl")


def generate(calls: list[list[str]], limit: int, results: Path) -> list[RunStore]:
    """Run each call's methods together; returns the stores of all."""
    suite = load_suite("shapes").override(limit=limit, metrics=["attribute_accuracy"])
    return [store for methods in calls for store in bench.run(suite, methods, results=results)]


def totals(stores: list[RunStore]) -> tuple[float, int]:
    """Seconds of generating and network evaluations executed, over all stores."""
    manifests = [store.manifest() for store in stores]
    seconds = sum(float(manifest.timings["generate_seconds"]) for manifest in manifests)
    return seconds, sum(int(manifest.counts["network_evaluations_executed"]) for manifest in manifests)


def main() -> None:
    """Print a line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ratios = []
    for round_number in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            together = totals(generate([list(METHODS)], given.prompts, Path(folder) / "together"))
            apart = totals(generate([[method] for method in METHODS], given.prompts, Path(folder) / "apart"))
        ratios.append(together[0] / apart[0])
        print(
            f"round {round_number + 1}: together {together[0]:.1f} s, apart {apart[0]:.1f} s, ratio {ratios[-1]:.3f}; "
            f"network evaluations {together[1]} of {apart[1]} ({together[1] / apart[1]:.3f})"
        )
    print(f"median ratio of seconds over {given.rounds} rounds: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
