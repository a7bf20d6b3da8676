"""A fixed probe set, sampled again at every checkpoint with the same prompts and the same noise."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import prompts as prompt_sets
from bench.models.base import DiffusionModel
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from bench.suite.schema import Suite
from bench.training.recipes import TrainRecipe
from bench.training.rewards import load_scorer
from bench.training.rollout import TUNED

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Probe:
    """P prompts x K images of the network in training alone, at every step and without guidance.

    `scorer` is the suite's first metric of a prompt's images; without one, diversity is the root mean square
    difference of two images' pixels, in 0..1.
    """

    model: DiffusionModel
    suite: Suite
    recipe: TrainRecipe
    scorer: Any = None

    @classmethod
    def of(cls, model: DiffusionModel, suite: Suite, recipe: TrainRecipe, device: str) -> Probe:
        """The probe of a suite."""
        return cls(model, suite, recipe, _group_metric(suite, device))

    @property
    def wanted(self) -> bool:
        """Whether the recipe asks for one."""
        return self.recipe.probe_prompts > 0 and self.recipe.probe_samples > 0

    def images(self) -> list[tuple[str, Tensor]]:
        """(prompt, uint8 [K, 3, H, W]) for each prompt, with the suite's seed."""
        texts = prompt_sets.load(self.suite.prompts)[: self.recipe.probe_prompts]
        tree = build_tree({"probe": actions_of([1.0] * self._steps(), (TUNED, 1.0), (TUNED, 1.0))})
        found = []
        for prompt in texts:
            items = [(prompt.id, prompt.text, sample) for sample in range(self.recipe.probe_samples)]
            batch = as_batch(self.model, self.suite.seed, items)
            [(_, latents)] = run_tree(self.model, tree, batch)
            found.append((prompt.text, self.model.decode(latents)))
        return found

    def run(self) -> tuple[float, Tensor]:
        """(mean diversity over the prompts, the images as a grid uint8 [3, H, W]: a row a prompt)."""
        found = self.images()
        values = [self._diversity(images, prompt) for prompt, images in found]
        finite = [value for value in values if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else math.nan, to_grid([images for _, images in found])

    def _diversity(self, images: Tensor, prompt: str) -> float:
        return float(self.scorer.score(images, prompt)) if self.scorer is not None else pixel_diversity(images)

    def _steps(self) -> int:
        from bench.sampling.loop import steps_of

        return steps_of(self.model.new_scheduler())


def pixel_diversity(images: Tensor) -> float:
    """Root mean square difference of two images, mean over pairs: uint8 [K, 3, H, W] -> 0..1; NaN for one image."""
    if len(images) < 2:
        return math.nan
    flat = images.float().flatten(1) / 255.0
    return float(torch.pdist(flat).mean() / math.sqrt(flat.shape[1]))


def to_grid(rows: list[Tensor], gap: int = 2) -> Tensor:
    """Images as a grid: R rows of uint8 [K, 3, H, W] -> uint8 [3, R (H + gap) - gap, K (W + gap) - gap], white gaps."""
    count, _, height, width = rows[0].shape
    shape = 3, len(rows) * (height + gap) - gap, count * (width + gap) - gap
    grid = torch.full(shape, 255, dtype=torch.uint8)
    for i, images in enumerate(rows):
        for j, image in enumerate(images):
            top, left = i * (height + gap), j * (width + gap)
            grid[:, top : top + height, left : left + width] = image
    return grid


def _group_metric(suite: Suite, device: str) -> Any:
    """The suite's first group metric that can be loaded here, None if there is none."""
    import metrics
    from metrics.errors import MetricError

    for name in suite.metrics:
        if name in metrics.names() and metrics.info(name).kind.value == "group":
            try:
                return load_scorer(name, suite, device)
            except MetricError as error:
                logger.warning(f"the probe's diversity is measured on pixels: {error}")
                return None
    return None
