"""What sharing the first steps saves, on the embedded suite: one call against a call for each method.

    python benchmarks/shared_trunk.py [--prompts N] [--rounds R] [--device D]

Two cases: base, refl, combined and imagerefl together (both switches at k = 30 of 40), and the paper's sweep of the
switch step, k = 0, 20, 25, 30, 35, 38. Both sides run in turn in this process, so that a machine whose speed drifts
favours neither; each round's ratio is printed, with the network evaluations that the manifests count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from generating import make_runs, network_steps, total

from bench.suite.load import load_suite
from bench.suite.resolve import resolve_methods

CASES = {
    "four methods": (["base", "refl", "combined", "imagerefl"], {}),
    "sweep": (["combined"], {"switch_step": "0,20,25,30,35,38"}),
}


def main() -> None:
    """Print a line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    suite = load_suite("shapes").override(limit=given.prompts)
    for case, (names, settings) in CASES.items():
        methods = resolve_methods(names, suite, settings)
        steps = network_steps(suite, methods)
        print(f"{case}: {steps[0]} of {steps[1]} network steps a sample before guidance ({steps[0] / steps[1]:.3f})")
        ratios = []
        for number in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                results = Path(folder)
                together = total(make_runs(suite, methods, results / "together", device=given.device))
                apart = total(
                    [
                        manifest
                        for method in methods
                        for manifest in make_runs(suite, [method], results / "apart", device=given.device)
                    ]
                )
            ratios.append(together[0] / apart[0])
            print(
                f"  round {number + 1}: together {together[0]:.1f} s, apart {apart[0]:.1f} s, ratio {ratios[-1]:.3f}; "
                f"network evaluations {together[1]} of {apart[1]} ({together[1] / apart[1]:.3f})"
            )
        print(f"  median ratio of seconds over {given.rounds} rounds: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
