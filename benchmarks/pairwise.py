"""K images, K forward passes: pairwise LPIPS and DreamSim against the packages' own calls, pair by pair.

    python benchmarks/pairwise.py [--counts 5,16] [--rounds R] [--side PIXELS] [--scorers lpips-alex,...]

Both sides run in turn in this process, on the same weights (made from a seed; speed does not depend on their values),
images and threads. Each line: seconds of both, the ratio, and the largest difference of two distances. The exit code
is 1 if a difference passes 1e-6. The packages keep nothing between two calls, so a pair costs them two passes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.doctor.parity import ours, trunks
from bench.doctor.parity.pictures import picture
from bench.doctor.parity.tensors import Draw

SCORERS = ("lpips-alex", "lpips-vgg", "dreamsim-open_clip_vitb32", "dreamsim-dino_vitb16", "dreamsim-ensemble")
TOLERANCE = 1e-6
Distances = Callable[[list[Image.Image]], list[float]]


def build(folder: Path, scorers: list[str]) -> None:
    """The weights that the scorers need, where both sides look for them."""
    draw = Draw(1)
    for name in scorers:
        if name.startswith("lpips-"):
            trunks.lpips_trunk(draw, name.removeprefix("lpips-"), folder / "torch" / "hub" / "checkpoints")
    if any(name.startswith("dreamsim-") for name in scorers):
        trunks.dreamsim(draw, folder / "dreamsim")


def package_lpips(net: str) -> Distances:
    """`lpips.LPIPS(net)(a, b)` for every pair."""
    import lpips
    import numpy as np

    model = lpips.LPIPS(net=net, verbose=False).eval()

    @torch.no_grad()
    def distances(images: list[Image.Image]) -> list[float]:
        inputs = [lpips.im2tensor(np.array(image)) for image in images]
        return [model(a, b).item() for a, b in combinations(inputs, 2)]

    return distances


def package_dreamsim(kind: str, folder: Path) -> Distances:
    """`dreamsim(...)`'s `model(a, b)` for every pair."""
    from dreamsim import dreamsim

    hub = torch.hub.get_dir()
    model, preprocess = dreamsim(pretrained=True, device="cpu", cache_dir=str(folder / "dreamsim"), dreamsim_type=kind)
    torch.hub.set_dir(hub)  # the package moves it

    @torch.no_grad()
    def distances(images: list[Image.Image]) -> list[float]:
        inputs = [preprocess(image) for image in images]
        return [model(a, b).item() for a, b in combinations(inputs, 2)]

    return distances


def package(scorer: str, folder: Path) -> Distances:
    """The original's side of a scorer."""
    family, _, kind = scorer.partition("-")
    return package_lpips(kind) if family == "lpips" else package_dreamsim(kind, folder)


def here(scorer: str, folder: Path) -> Distances:
    """Our side: the upper half of one matrix."""
    metric: Any = ours.load(scorer, folder)

    def distances(images: list[Image.Image]) -> list[float]:
        matrix = metric.pairwise(images)
        return [matrix[a, b].item() for a, b in combinations(range(len(images)), 2)]

    return distances


def timed(call: Distances, images: list[Image.Image]) -> tuple[float, list[float]]:
    """Seconds and distances of one call."""
    began = time.perf_counter()
    found = call(images)
    return time.perf_counter() - began, found


def compare(scorer: str, folder: Path, images: list[Image.Image], rounds: int) -> float:
    """Print the line of one scorer at one K; returns the largest difference."""
    original, own = package(scorer, folder), here(scorer, folder)
    for call in (original, own):
        call(images[:2])
    pairs = [(timed(original, images), timed(own, images)) for _ in range(rounds)]
    ratios = [theirs[0] / mine[0] for theirs, mine in pairs]
    difference = max(abs(a - b) for theirs, mine in pairs for a, b in zip(theirs[1], mine[1], strict=True))
    theirs, mine = (statistics.median(side[0] for side in column) for column in zip(*pairs, strict=True))
    print(
        f"{scorer} K={len(images)}: package {theirs:.2f} s, here {mine:.2f} s, ratio {statistics.median(ratios):.1f} "
        f"(K-1 = {len(images) - 1}); largest difference {difference:.1e}",
        flush=True,
    )
    return difference


def main() -> None:
    """Compare all scorers at all K."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="5,16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--scorers", default=",".join(SCORERS))
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # what the packages say of their libraries
    scorers, differences = given.scorers.split(","), []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["TORCH_HOME"] = str(folder / "torch")
        build(folder, scorers)
        for scorer in scorers:
            for count in map(int, given.counts.split(",")):
                images = [picture(Draw(2), f"image-{n}", (given.side, given.side, "RGB")) for n in range(count)]
                differences.append(compare(scorer, folder, images, given.rounds))
    if not max(differences) <= TOLERANCE:
        sys.exit(f"a difference of {max(differences):.1e} is above {TOLERANCE:g}")


if __name__ == "__main__":
    main()
