"""Metrics of 2026 whose originals do not run beside us, each against a second, plain reading of its paper; the table
of docs/parity_readings.md.

    python benchmarks/parity_readings.py

Each line: how many cases were compared, the largest difference of a case's value (to the second reading, or to the
original's recorded value), and what the comparison does with a planted mistake: the largest difference then. The exit
code is 1 where a value differs by more than 1e-6 of the largest value (networks: 1e-4), or a planted mistake does not.
"""

from __future__ import annotations

import colorsys
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import metrics
from metrics.group.dreamsim_clusters import groups
from metrics.group.pvs import levels, pvs
from metrics.image.geneval_rules import relations
from metrics.set.conditional_vendi import conditional_vendi
from metrics.set.irs import reachable
from metrics.set.near_duplicates import nearest
from metrics.set.prdc import prdc

HPSV3 = Path(__file__).parents[1] / "tests" / "data" / "hpsv3"
ARITHMETIC, NETWORK = 1e-6, 1e-4


@dataclass(frozen=True)
class Line:
    """One metric: our values, those of the other reading, and those of the other reading with a mistake planted."""

    metric: str
    against: str
    planted: str
    ours: Sequence[float]
    wanted: Sequence[float]
    mistaken: Sequence[float]
    tolerance: float = ARITHMETIC

    def differences(self) -> tuple[float, float]:
        """The largest difference to the other reading, and with the mistake, over the largest value."""
        scale = max(1e-12, float(np.abs(self.wanted).max()))
        return tuple(float(np.abs(np.subtract(self.ours, one)).max()) / scale for one in (self.wanted, self.mistaken))  # type: ignore[return-value]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """One pair at a time."""
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


def entropy(matrix: np.ndarray) -> float:
    """By numpy's general eigenvalues."""
    values = [value for value in np.linalg.eigvals(matrix / np.trace(matrix)).real if value > 1e-12]
    return -math.fsum(value * math.log(value) for value in values)


def conditional(rng: np.random.Generator) -> Line:
    """exp(H(K o T) - H(T)), and without the prompts' own entropy."""
    ours, wanted, mistaken = [], [], []
    for _ in range(60):
        images, texts = rng.normal(size=(12, 5)), rng.normal(size=(4, 3))
        of = [index // 3 for index in range(12)]
        prompt = np.array([[cosine(texts[i], texts[j]) for j in of] for i in of])
        joint = prompt * np.array([[cosine(a, b) for b in images] for a in images])
        ours.append(conditional_vendi(torch.tensor(images), torch.tensor(texts), of))
        wanted.append(math.exp(entropy(joint) - entropy(prompt)))
        mistaken.append(math.exp(entropy(joint)))
    return Line("conditional_vendi", "entry by entry, numpy's eigvals", "without H(T)", ours, wanted, mistaken)


def copies(rng: np.random.Generator) -> Line:
    """The largest cosine with another row; and with itself among them."""
    ours, wanted, mistaken = [], [], []
    for _ in range(40):
        rows = rng.normal(size=(9, 4))
        ours += nearest(rows).tolist()
        wanted += [max(cosine(a, b) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]
        mistaken += [max(cosine(a, b) for b in rows) for a in rows]
    return Line("near_duplicates", "pair by pair", "an image is its own neighbour", ours, wanted, mistaken)


def clusters(rng: np.random.Generator) -> Line:
    """Connected components by search; and images that are joined where they differ."""
    ours, wanted, mistaken = [], [], []
    for _ in range(200):
        table = rng.uniform(size=(6, 6))
        table = (table + table.T) / 2
        ours.append(float(groups(torch.tensor(table), 0.35)))
        wanted.append(float(_components(table, lambda value: value < 0.35)))
        mistaken.append(float(_components(table, lambda value: value >= 0.35)))
    return Line("dreamsim_clusters", "search through the graph", "far images are joined", ours, wanted, mistaken)


def _components(table: np.ndarray, joined: Callable[[float], bool]) -> int:
    left, count = set(range(len(table))), 0
    while left:
        queue, count = [left.pop()], count + 1
        while queue:
            one = queue.pop()
            near = {other for other in left if joined(float(table[one, other]))}
            left -= near
            queue += near
    return count


def positions(rng: np.random.Generator) -> Line:
    """The four directions of two boxes; and without the margin of a tenth."""
    ours, wanted, mistaken = [], [], []
    names = ("left of", "right of", "above", "below")
    for _ in range(2000):
        boxes = np.sort(rng.uniform(0, 100, (2, 2, 2)), axis=1).reshape(2, 4)
        found = relations(tuple(boxes[0]), tuple(boxes[1]))
        ours += [float(name in found) for name in names]
        wanted += _directions(boxes, 0.1)
        mistaken += _directions(boxes, 0.0)
    return Line("geneval_hf (positions)", "arrays, from the program's rule", "no margin", ours, wanted, mistaken)


def _directions(boxes: np.ndarray, margin: float) -> list[float]:
    a, b = boxes.reshape(2, 2, 2)
    offset = a.mean(axis=0) - b.mean(axis=0)
    beyond = np.sign(offset) * np.clip(np.abs(offset) - margin * (np.abs(a[1] - a[0]) + np.abs(b[1] - b[0])), 0, None)
    if (np.abs(beyond) < 1e-3).all():
        return [0.0] * 4
    x, y = beyond / np.linalg.norm(offset)
    return [float(holds) for holds in (x < -0.5, x > 0.5, y < -0.5, y > 0.5)]


def retrieval(rng: np.random.Generator) -> Line:
    """The most likely number of cells by trying all; and the number of filled cells alone."""
    ours, wanted, mistaken = [], [], []
    for _ in range(200):
        most, draws = int(rng.integers(5, 120)), int(rng.integers(2, 60))
        distinct = len(set(rng.integers(0, most, draws).tolist()))
        ours.append(float(reachable(distinct, draws, most)))
        likely = [
            math.lgamma(s + 1) - math.lgamma(s - distinct + 1) - draws * math.log(s) for s in range(distinct, most + 1)
        ]
        wanted.append(float(distinct + int(np.argmax(likely))))
        mistaken.append(float(distinct))
    return Line("irs", "the likelihood of every number", "the count itself", ours, wanted, mistaken)


def coverage(rng: np.random.Generator) -> Line:
    """All four values by loops; and with an image as its own first neighbour."""
    ours, wanted, mistaken = [], [], []
    for _ in range(20):
        real, fake = rng.normal(size=(20, 3)), rng.normal(size=(16, 3)) * 1.3
        found = prdc(real, fake, 3)
        ours += [found[name] for name in ("coverage", "recall", "precision", "density")]
        wanted += _manifolds(real, fake, 3, 3)
        mistaken += _manifolds(real, fake, 2, 3)
    return Line("prdc (all four)", "pair by pair", "an image is its own neighbour", ours, wanted, mistaken)


def _manifolds(real: np.ndarray, fake: np.ndarray, place: int, k: int) -> list[float]:
    def radius(rows: np.ndarray, i: int) -> float:
        return sorted(math.dist(rows[i], rows[j]) for j in range(len(rows)) if j != i)[place - 1]

    inside = np.array([[math.dist(r, f) < radius(real, i) for f in fake] for i, r in enumerate(real)])
    recalled = [any(math.dist(r, f) < radius(fake, j) for j, f in enumerate(fake)) for r in real]
    within = inside.any(axis=0)
    return [inside.any(axis=1).mean(), float(np.mean(recalled)), within.mean(), inside.sum() / k / len(fake)]


def photographic(rng: np.random.Generator) -> Line:
    """Pixel by pixel with colorsys; and with the deviation of a sample."""
    ours, wanted, mistaken = [], [], []
    for _ in range(6):
        frames = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(4)]
        ours.append(pvs(np.stack([levels(frame) for frame in frames])))
        rows = []
        for frame in frames:
            pixels = [tuple(value / 255 for value in frame.getpixel((x, y))) for x in range(8) for y in range(8)]  # type: ignore[union-attr]
            hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
            grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in pixels]
            rows.append([np.mean([h[1] for h in hsv]), np.mean([h[2] for h in hsv]), np.std(grey)])
        wanted.append(float(np.std(rows, axis=0).sum()))
        mistaken.append(float(np.std(rows, axis=0, ddof=1).sum()))
    return Line("pvs", "pixel by pixel, colorsys", "the deviation of a sample", ours, wanted, mistaken)


def hpsv3(_: np.random.Generator) -> Line:
    """The original package's own values, recorded in its environment; and with prompts exchanged."""
    recorded: list[dict[str, Any]] = json.loads((HPSV3 / "recorded.json").read_text(encoding="utf-8"))
    scorer = metrics.load("hpsv3", weights=HPSV3)
    frames = []
    for row in recorded:
        small = np.random.default_rng(row["seed"]).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        frames.append(Image.fromarray(small).resize(tuple(row["size"]), Image.Resampling.BICUBIC))
    prompts = [row["prompt"] for row in recorded]
    ours = scorer.score(frames, prompts).tolist()
    wrong = scorer.score(frames, [*prompts[1:], prompts[0]]).tolist()
    wanted = [row["logits"][0] for row in recorded]
    return Line("hpsv3", "the package hpsv3 1.0.0, recorded", "prompts exchanged", ours, wanted, wrong, NETWORK)


LINES = (hpsv3, conditional, copies, clusters, positions, retrieval, coverage, photographic)


def main() -> int:
    """Print the table; 1 where something differs, or a mistake is not seen."""
    print("| metric | against | cases | largest difference | planted mistake | its difference |")
    print("| :--- | :--- | ---: | ---: | :--- | ---: |")
    wrong = 0
    for number, make in enumerate(LINES):
        line = make(np.random.default_rng(number))
        difference, planted = line.differences()
        wrong += difference > line.tolerance or planted <= 10 * line.tolerance
        cases = len(line.ours)
        print(f"| {line.metric} | {line.against} | {cases:,} | {difference:.1e} | {line.planted} | {planted:.1e} |")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
