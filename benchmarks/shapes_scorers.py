"""How well do the embedded world's scorers know their annotators, and how far do they agree with each other?

    python benchmarks/shapes_scorers.py [--pairs 3000]

New pictures, clean and damaged, that no scorer was trained on. Each pool's annotators compare pairs of them for a
caption; a scorer's accuracy is the share of pairs in which it prefers what its own pool chose (the ceiling is how
often a noise-free annotator of that pool would). Agreement is the share of pairs in which two scorers prefer the same.
"""

from __future__ import annotations

import argparse
import shutil
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from torch import Tensor

import metrics
from bench.models import weights
from bench.shapes.annotator import POOLS
from bench.shapes.build.bank import Bank, Pairs, bank, draw_pairs

SEED = 52
SCORERS = {"pickscore": "pickscore", "hpsv2.1": "hpsv2", "image_reward": "image_reward"}
"""Metric -> the pool and the weights behind it."""


def test_bank() -> Bank:
    """The held-out pictures, damaged by the shipped autoencoder."""
    with TemporaryDirectory() as folder:
        shutil.copytree(weights.resolve("shapes:pipeline") / "vae", Path(folder) / "vae")
        return bank(Path(folder), "test")


def margins(name: str, seen: Bank, pairs: Pairs) -> Tensor:
    """Score of the first minus score of the second picture of each pair."""
    scorer = metrics.load(name, weights=str(weights.resolve(f"shapes:{SCORERS[name]}")), label="shapes")
    frames = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in seen.images]
    first = scorer.score([frames[i] for i in pairs.first], pairs.captions)
    second = scorer.score([frames[i] for i in pairs.second], pairs.captions)
    return Tensor(first - second)


def main() -> None:
    """Print accuracies and agreements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3_000)
    given = parser.parse_args()
    seen = test_bank()
    print(f"{given.pairs} held-out pairs")
    for name, pool in SCORERS.items():
        own = draw_pairs(seen, POOLS[pool], given.pairs, np.random.default_rng(SEED))
        says = margins(name, seen, own) > 0
        noisy = (says == own.prefers_first.bool()).float().mean().item()
        certain = (says == own.certain.bool()).float().mean().item()
        ceiling = (own.certain == own.prefers_first).float().mean().item()
        print(f"{name:13} accuracy {noisy:.3f} (ceiling {ceiling:.3f}); against annotators without noise {certain:.3f}")
    same = draw_pairs(seen, POOLS["pickscore"], given.pairs, np.random.default_rng(SEED))
    choices = {name: margins(name, seen, same) > 0 for name in SCORERS}
    for one, other in combinations(SCORERS, 2):
        agree = (choices[one] == choices[other]).float().mean().item()
        print(f"{one:13} and {other:13} agree in {agree:.3f}")


if __name__ == "__main__":
    main()
