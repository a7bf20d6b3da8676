"""How far the scorers' tensor path (training) is from their image path (scoring), where images must be resized.

    python benchmarks/reward_paths.py [--count 200]

Pictures of the embedded world are enlarged to 200 x 150 pixels and scored both ways by its scorers, which see 64 x 64.
Printed: mean and largest absolute difference, and as a share of the scores' standard deviation over the pictures.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from PIL import Image

from bench.shapes.captions import random_caption
from bench.shapes.world import random_scene, render
from bench.suite.load import load_suite
from bench.training.rewards import load_scorer

SIZE = (200, 150)


def main() -> None:
    """A line a scorer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(given.count)]
    images = [Image.fromarray(render(scene)).resize(SIZE, Image.Resampling.BICUBIC) for scene in scenes]
    captions = [random_caption(scene, rng) for scene in scenes]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255
    suite = load_suite("shapes")
    for name in ("pickscore", "hpsv2.1", "image_reward"):
        scorer = load_scorer(name, suite, "cpu")
        expected = scorer.score(images, captions)
        with torch.no_grad():
            found = torch.cat(
                [
                    scorer.score_pixels(pixels[start : start + 16], captions[start : start + 16])
                    for start in range(0, given.count, 16)
                ]
            )
        difference, spread = (found - expected).abs(), float(expected.std())
        print(
            f"{name:13} mean {difference.mean():.5f}  largest {difference.max():.5f}  "
            f"of a deviation: {difference.mean() / spread:.4f}, {difference.max() / spread:.4f}"
        )


if __name__ == "__main__":
    main()
