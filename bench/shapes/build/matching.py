"""Teaches BLIP's text side to read: which attributes does this caption name, and does the picture show them?

BLIP itself learns true from wrong captions before any reward is trained (Li et al. 2022, arXiv 2201.12086, section
3.2); from preferences alone the small one learns to judge pictures and hardly looks at captions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.shapes.build.bank import Bank
from bench.shapes.build.data import normalised
from bench.shapes.build.features import Readings
from bench.shapes.build.parallel import Recipe, Worker, fit
from bench.shapes.captions import ATTRIBUTES, VALUES, caption, random_named
from bench.shapes.world import Scene

SEED = 71
BATCH = 32
WRONG = 0.35
"""How often a named attribute is not the picture's."""
RECIPE = Recipe(steps=2_500, learning_rate=8e-4, warmup=150, weight_decay=1e-2)
UNNAMED, SHOWN, NOT_SHOWN = 0, 1, 2

Read = Callable[[Tensor, list[str]], tuple[Tensor, Tensor]]
"""Pixels [N, 3, 64, 64] and captions -> what the text side saw [N, A] and what the picture's side saw [N, B]."""


class Matches(nn.Module):
    """For each attribute: unnamed, named and shown, or named and not shown. Dropped after the training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, 3 * len(ATTRIBUTES))

    def forward(self, states: Tensor) -> Tensor:
        """States [N, width] -> logits [N, 5, 3]."""
        return torch.as_tensor(self.head(states)).view(len(states), len(ATTRIBUTES), 3)


def half_true(scene: Scene, rng: np.random.Generator) -> tuple[str, list[int]]:
    """A caption of which each named attribute may be wrong, and what became of the five attributes."""
    named, truth = random_named(scene, rng), scene.attributes()
    for attribute in named:
        if rng.random() < WRONG:
            others = [value for value in VALUES[attribute] if value != truth[attribute]]
            named[attribute] = others[rng.integers(len(others))]
    answers = [UNNAMED if a not in named else SHOWN if named[a] == truth[a] else NOT_SHOWN for a in ATTRIBUTES]
    return caption(named), answers


def learn_to_match(read: Read, towers: nn.Module, widths: tuple[int, int], seen: Bank) -> None:
    """Train `towers` in place through `read`, on half-true captions of the bank's pictures."""
    matches, readings = Matches(widths[0]), Readings(widths[1])
    rng = np.random.default_rng(SEED)

    def loss_of(step: int) -> Tensor:
        rows = rng.integers(len(seen.scenes), size=BATCH)
        drawn = [half_true(seen.scenes[row], rng) for row in rows]
        states, embeddings = read(normalised(seen.images[rows]), [text for text, _ in drawn])
        answers = torch.tensor([answer for _, answer in drawn])
        matched = F.cross_entropy(matches(states).flatten(0, 1), answers.flatten())
        if (step + 1) % 100 == 0:
            print(f"matching step {step + 1}: {matched.item():.3f} nats an attribute", flush=True)
        return 5.0 * matched + torch.as_tensor(readings(embeddings, seen.classes[rows], seen.measures[rows]))

    for _ in fit(nn.ModuleList([towers, matches, readings]), loss_of, RECIPE, Worker(0, 1), "matching"):
        pass
