"""Metrics that see an image only through the features of one forward pass.

What one image costs is split so that a caller who scores with many metrics can share each step:

    prepare(image)          the network's input; shared by metrics with equal `preprocessing`
    embed_inputs(inputs)    the features, float32 on the CPU; shared (and kept) by metrics with equal `backbone`
    score_features, score_embeddings, statistics_of     the value of an image, a group, a set, from features alone

`embed(images)` is the first two. A subclass whose `score` (or `statistics`) is its own, and not made of these steps,
has `by_features` False: then nothing may be shared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from metrics.base.metric import Metric
from metrics.base.precision import by_its_card
from metrics.images import Images, to_pil
from metrics.types import digest_of

# The settings of a card that together say what `prepare` does. Where one of them is absent, nothing is concluded.
_NEEDED = ("resize", "antialias", "crop", "image_size", "colour")
_ALTERNATIVES = ("mean", "deviation", "normalisation")


def _origin(cls: type, name: str) -> str:
    """The class that defines an attribute of `cls`."""
    return next(f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__ if name in vars(base))


class FeatureMetric(Metric):
    """A metric over the features of single images."""

    convert_first: ClassVar[bool] = True  # images become RGB before `prepare`
    made_by: ClassVar[tuple[str, ...]] = ("prepare", "encode_images")  # the methods that decide the features

    @abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """One image as network input, float32 [3, S, S] on the CPU."""

    @abstractmethod
    def encode_images(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] on the metric's device -> image features [B, ...]."""

    @property
    def by_features(self) -> bool:
        """Whether the value is made of `prepare`, `embed_inputs` and the step from features to value, and no more."""
        return type(self).embed is FeatureMetric.embed

    @property
    def preprocessing(self) -> str:
        """Equal for two metrics whose `prepare` gives equal inputs: the card's settings of resize, crop, colour, ..."""
        settings = self.card.settings
        if all(name in settings for name in _NEEDED) and any(name in settings for name in _ALTERNATIVES):
            said = {name: settings[name] for name in (*_NEEDED, *_ALTERNATIVES) if name in settings}
            return digest_of(said=said, convert_first=self.convert_first)
        return digest_of(code=_origin(type(self), "prepare"), settings=dict(settings), convert_first=self.convert_first)

    @property
    def backbone(self) -> str:
        """Equal for two metrics whose `embed` gives equal features: weights, settings and code, not the metric's name.

        Subclasses whose card has settings or files that do not touch the features leave these out.
        """
        code = [_origin(type(self), name) for name in self.made_by]
        return digest_of(code=code, weights=dict(self.card.weights), settings=dict(self.card.settings))

    @property
    def width(self) -> int:
        """Number of features D, 0 where it is not known before the first image."""
        return 0

    @torch.no_grad()
    @by_its_card
    def embed_inputs(self, inputs: Sequence[Tensor], multiple: int = 1) -> Tensor:
        """Features of prepared images, float32 [N, ...] on the CPU, in batches of `batch_size`.

        Batches are filled up to a `multiple` with copies of their last image. Inputs of different sizes go one by one.
        """
        parts = [self._features(group, multiple) for group in self._groups(inputs)]
        return torch.cat(parts) if parts else torch.zeros(0, self.width)

    def _groups(self, inputs: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
        for start in range(0, len(inputs), self.batch_size):
            batch = inputs[start : start + self.batch_size]
            if len({tuple(item.shape) for item in batch}) > 1:
                yield from ([item] for item in batch)
            else:
                yield batch

    def _features(self, inputs: Sequence[Tensor], multiple: int) -> Tensor:
        spare = -len(inputs) % multiple
        batch = torch.stack([*inputs, *([inputs[-1]] * spare)]).to(self.device)
        return self.encode_images(batch)[: len(inputs)].float().cpu()

    def embed(self, images: Images) -> Tensor:
        """Features of images, float32 [N, ...] on the CPU."""
        frames = to_pil(images, convert=self.convert_first)
        parts = [self.embed_inputs([self.prepare(frame) for frame in batch]) for batch in self._batches(frames)]
        return torch.cat(parts) if parts else torch.zeros(0, self.width)
