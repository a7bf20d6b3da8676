"""The best of several candidates of each image, by a reward: best of N, and zero-order search of the initial noise.

Each image is searched for itself, from noise that depends on (seed, prompt, sample, candidate) alone: whatever batch it
is in, and whenever a run goes on, it is the same search.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import metrics
from bench.methods.search import specs_of
from bench.models.metric_paths import metric_weights

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.search import Search
    from bench.sampling.loop import Batch
    from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Choosing:
    """A search and its reward, loaded; `sign` is 1 where a higher value is better, else -1."""

    search: Search
    metric: Any
    sign: float = 1.0
    refused: str = ""  # why the reward took an image and its prompt last not

    @classmethod
    def load(cls, search: Search, suite: Suite, device: str) -> Choosing:
        """The reward with the weights and options of the suite. Raises metrics.MetricError and MissingError."""
        name = str(search.reward)
        spec, facts = specs_of(suite)[name], metrics.info(name)
        options = {
            key: metric_weights(value) if key in facts.weight_options else value for key, value in spec.options.items()
        }
        how: dict[str, Any] = {"device": device, "label": suite.label, "dtype": spec.dtype, "tf32": spec.tf32}
        loaded = metrics.load(name, weights=metric_weights(spec.weights), **how, **options)
        return cls(search, loaded, 1.0 if facts.direction == metrics.Direction.HIGHER else -1.0)

    def best(
        self, batch: Batch, prompts: Sequence[str], shape: Sequence[int], make: Callable[[Batch], Tensor]
    ) -> Tensor:
        """The best image of each item of the batch, uint8 [N, 3, H, W]; of equal ones the first.

        `make` generates and decodes a batch of candidates; latents have `shape`. A candidate without a value is taken
        only where none has one, and that is said.
        """
        import torch

        from bench.sampling.noise import initial_noise

        where = (batch.seed, batch.prompt_ids, batch.samples, tuple(shape))
        noises = pivot = initial_noise(*where)
        images, values = None, torch.full((len(prompts),), -torch.inf)
        for index in range(self.search.candidates):
            stream = f"candidate {index}" if index else ""
            noise = initial_noise(*where, stream)
            if index >= self.search.n:
                if (index - self.search.n) % self.search.n == 0:
                    pivot = noises.clone()  # each round searches around the best of the rounds before it
                radius = self.search.radius
                noise = (pivot + radius * noise) / (1.0 + radius**2) ** 0.5
            own = stream if self.search.kind == "best_of_n" else ""
            made = make(dataclasses.replace(batch, stream=own, noise=noise))
            found = self.sign * self._values(made, list(prompts))
            if images is None:
                images = made.clone()
                values = torch.where(found.isnan(), -torch.inf, found)
                continue
            better = found > values  # never true of NaN
            images[better], noises[better], values[better] = made[better], noise[better], found[better]
        if bool((values == -torch.inf).any()):
            without = int((values == -torch.inf).sum())
            why = f" ({self.refused})" if self.refused else ""
            logger.warning(f"{self.search.reward} scored no candidate of {without} images{why}: the first was taken")
        assert images is not None
        return images

    def _values(self, images: Tensor, prompts: list[str]) -> Tensor:
        """The reward's values of uint8 images [N, 3, H, W], float32 [N]; NaN for those that it cannot take.

        A reward refuses a batch for one image or prompt, so the others are then scored one by one.
        """
        import torch

        try:
            return torch.as_tensor(self.metric.score(images, prompts)).float().cpu()
        except metrics.BadInputError as error:
            if len(prompts) == 1:
                self.refused = str(error)
                return torch.full((1,), torch.nan)
        return torch.cat([self._values(images[n : n + 1], [prompt]) for n, prompt in enumerate(prompts)])
