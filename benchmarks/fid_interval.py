"""Processor seconds of a Frechet distance with its interval: one factorisation of the reference against one each time.

    python benchmarks/fid_interval.py [--width 2048] [--images 2000] [--reference 5000] [--blocks 10] [--device cpu]

*Before* is a whole distance (`metrics.set.frechet`) of the set and of the set with each block left out; *now* is what
`bench score` does above 512 features, both on the same random features with a falling spectrum. On CUDA the seconds are
by the clock. Both ways' values are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.runtime.threads import available_cores
from bench.scoring.blocks import left_out_in_turn, sum_of
from metrics.set.frechet import frechet_distance
from metrics.set.frechet_interval import Reference, leave_one_out
from metrics.set.moments import Moments


def features(rng: np.random.Generator, count: int, width: int, turn: Any) -> Any:
    """Rows whose deviations fall by a factor of 1,000 from the first direction to the last."""
    return (rng.standard_normal((count, width)) * np.exp(-7.0 * np.arange(width) / width)) @ turn


def timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Seconds of the processor (CUDA: by the clock), and what came of the work."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    began = clock()
    made = work()
    return clock() - began, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--reference", type=int, default=5000)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    rng, device = np.random.default_rng(0), torch.device(given.device)
    turn = np.linalg.qr(rng.standard_normal((given.width, given.width)))[0]
    against = Moments.of(features(rng, given.reference, given.width, turn))
    rows = features(rng, given.images, given.width, turn) * 1.1
    blocks = [Moments.of(part) for part in np.array_split(rows, given.blocks)]

    def plain() -> tuple[float, list[float]]:
        left = [frechet_distance(part, against) for part in left_out_in_turn(blocks)]
        return frechet_distance(sum_of(blocks), against), left

    factored, reference = timed(lambda: Reference.of(against, device), device)
    now, (value, left_out) = timed(lambda: leave_one_out(blocks, reference), device)
    before, (exact, wanted) = timed(plain, torch.device("cpu"))
    print(
        f"{given.width} features, {given.images} images against {given.reference}, {given.blocks} blocks, on {device}"
    )
    print(f"({torch.get_num_threads()} of {available_cores()} threads)")
    print(f"before: {before:.1f} s")
    print(f"now: {factored + now:.1f} s ({factored:.1f} s of them the reference's factor, once for all runs of a call)")
    spread, most = float(np.std(wanted)), float(np.abs(np.subtract(left_out, wanted)).max())
    print(f"value {exact:.6f}, off by {abs(value - exact):.1e}")
    print(f"left-out values: deviation {spread:.6f}, each off by at most {most:.1e}")


if __name__ == "__main__":
    main()
