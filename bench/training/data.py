"""What trainings read: captions alone (ReFL, DRaFT), or pictures with captions (base, ImageReFL)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.errors import MissingError
from bench.suite import Suite


class TrainingData(Protocol):
    """Endless batches, each a function of the generator alone, so that a seed names the whole training."""

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        """Captions to generate for."""

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Real pictures, float32 [N, 3, H, W] in [-1, 1], with their captions."""


class ShapesData:
    """The embedded world: pictures drawn on the spot."""

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        from bench.shapes.captions import random_caption
        from bench.shapes.world import random_scene

        return [random_caption(random_scene(rng), rng) for _ in range(count)]

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        from bench.shapes.captions import random_caption
        from bench.shapes.world import random_scene, render

        scenes = [random_scene(rng) for _ in range(count)]
        images = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2)
        return images.float() / 127.5 - 1.0, [random_caption(scene, rng) for scene in scenes]


class PromptData:
    """The suite's prompt set: captions only."""

    def __init__(self, suite: Suite) -> None:
        import prompts

        self._texts = [prompt.text for prompt in prompts.load(suite.prompts)]

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        return [self._texts[place] for place in rng.integers(len(self._texts), size=count)]

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        raise MissingError(
            "this objective needs real pictures with captions, which only the suite 'shapes' has so far: "
            "use --suite shapes, or train refl or draft, which need prompts alone."
        )


def data_for(suite: Suite) -> TrainingData:
    """The data that a suite trains on."""
    return ShapesData() if suite.label == "shapes" else PromptData(suite)
