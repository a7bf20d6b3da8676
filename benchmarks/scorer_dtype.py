"""How far bfloat16 and float16 move the values of metrics, on the embedded suite's scorers and drawn pictures.

    python benchmarks/scorer_dtype.py [--images 64]

Pictures are random scenes of the embedded world in groups of four, each with a prompt of its own scene. *Shift* is the
mean of the differences to float32 and *deviation* theirs, both as a share of the float32 values' standard deviation
over images (groups of a group metric); *most* is the largest difference, likewise. The scorers are small: networks of
published size have more layers, and a shift of their own.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.scoring.metric_weights import load_metric
from bench.shapes.captions import random_caption
from bench.shapes.world import random_scene, render
from bench.suite.load import load_suite

NAMES = ("pickscore", "hpsv2.1", "image_reward", "dreamsim")
DTYPES = ("bfloat16", "float16")
GROUP = 4


def values(metric: Any, pictures: list[Image.Image], texts: list[str]) -> np.ndarray[Any, Any]:
    """One value an image, or one a group."""
    if metric.kind == "image":
        return np.asarray(metric.score(pictures, texts), dtype=np.float64)
    return np.array([metric.score(pictures[start : start + GROUP]) for start in range(0, len(pictures), GROUP)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    count = parser.parse_args().images
    torch.set_num_threads(1)
    rng, suite = np.random.default_rng(0), load_suite("shapes")
    scenes = [random_scene(rng) for _ in range(count)]
    pictures, texts = (
        [Image.fromarray(render(scene)) for scene in scenes],
        [random_caption(scene, rng) for scene in scenes],
    )
    print("| metric | dtype | shift | deviation | most |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name in NAMES:
        spec = suite.metrics[name]
        exact = values(load_metric(name, spec, "cpu", suite.label), pictures, texts)
        for dtype in DTYPES:
            chosen = spec.model_copy(update={"dtype": dtype})
            try:
                metric = load_metric(name, chosen, "cpu", suite.label)
            except Exception as error:
                print(f"| {name} | {dtype} | refused: {error} | | |")
                continue
            off = (values(metric, pictures, texts) - exact) / exact.std()
            print(f"| {name} | {dtype} | {off.mean():+.4f} | {off.std():.4f} | {np.abs(off).max():.4f} |", flush=True)


if __name__ == "__main__":
    main()
