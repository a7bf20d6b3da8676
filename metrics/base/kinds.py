"""The three kinds of metric: of an image and its prompt, of the images of a prompt, of a set of images.

Those that see images through features only (`metrics.base.features`) can share preprocessing and features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from metrics.base.features import FeatureMetric
from metrics.base.metric import Metric, make_card, pick_device
from metrics.base.pairs import cosine_distances, mean_of_pairs
from metrics.base.precision import by_its_card
from metrics.base.prompt_cache import KnownTexts, cut_notes
from metrics.errors import BadInputError
from metrics.images import Images, check_prompts, to_pil
from metrics.types import Card, Kind

__all__ = [
    "TOO_FEW",
    "TOO_FEW_IN_SET",
    "EmbeddingGroupMetric",
    "FeatureMetric",
    "GroupMetric",
    "ImageMetric",
    "Mergeable",
    "Metric",
    "S",
    "SetMetric",
    "cosine_distances",
    "make_card",
    "mean_of_pairs",
    "pick_device",
]

TOO_FEW = "needs at least 2 images"
TOO_FEW_IN_SET = "needs at least 2 images on each side"


class ImageMetric(FeatureMetric):
    """(image, prompt) -> value."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True  # False: the value does not depend on the prompt, which may be left out
    token_limit: int | None = None  # longer prompts are cut

    def __init__(self, card: Card, device: torch.device, batch_size: int = 16) -> None:
        super().__init__(card, device, batch_size)
        self._texts = KnownTexts()
        self._cut: set[str] = set()

    @abstractmethod
    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """Float pixels [N, 3, H, W] in [0, 1] as network input [N, 3, S, S], differentiable."""

    @abstractmethod
    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Distinct prompts -> tensors whose first axis is the prompt."""

    @abstractmethod
    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image features [B, ...] and the prompts' tensors [B, ...] -> values [B]."""

    def token_lengths(self, prompts: list[str]) -> list[int]:
        """The tokens of each prompt, those that are added to it included; only asked for with a `token_limit`."""
        raise NotImplementedError

    def notes(self, n: int | None = None) -> list[str]:
        """What a reader of the values should know: how many different prompts were cut so far."""
        return [*super().notes(n), *cut_notes(len(self._cut), self.token_limit or 0)]

    def notes_for(self, prompts: Iterable[str]) -> list[str]:
        """The notes on values for these prompts, whenever and by whom they were scored."""
        return [*super().notes(), *cut_notes(len(self._cut_of(prompts)), self.token_limit or 0)]

    def _cut_of(self, prompts: Iterable[str]) -> set[str]:
        if self.token_limit is None:
            return set()
        distinct = list(dict.fromkeys(prompts))
        lengths = self.token_lengths(distinct) if distinct else []
        return {prompt for prompt, length in zip(distinct, lengths, strict=True) if length > self.token_limit}

    @property
    def by_features(self) -> bool:
        """True unless a subclass scores in a way of its own."""
        return super().by_features and type(self).score is ImageMetric.score

    def _encode_new(self, prompts: list[str]) -> tuple[Tensor, ...]:
        self._cut |= self._cut_of(prompts)
        return self.encode_prompts(prompts)

    def _gather(self, prompts: Sequence[str] | None, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """The tensors of the distinct prompts, and the place of each image's prompt in them."""
        if not self.uses_prompts:
            prompts = [""] * count if prompts is None else prompts
        texts, indices = self._texts.gather(check_prompts(prompts, count), self._encode_new)
        return texts, torch.tensor(indices, dtype=torch.long, device=self.device)

    def _values(self, features: Tensor, texts: tuple[Tensor, ...], indices: Tensor) -> Tensor:
        return self.compare(features, tuple(text[indices] for text in texts)).float()

    @torch.no_grad()
    @by_its_card
    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values, float32 [N] on the CPU; the unit is in the card. Prompts: one for each image."""
        frames = to_pil(images, convert=self.convert_first)
        texts, index = self._gather(prompts, len(frames))
        values = [torch.zeros(0)]
        for batch, indices in zip(self._batches(frames), index.split(self.batch_size), strict=False):
            inputs = torch.stack([self.prepare(frame) for frame in batch]).to(self.device)
            values.append(self._values(self.encode_images(inputs).float(), texts, indices).cpu())
        return torch.cat(values)

    @torch.no_grad()
    @by_its_card
    def score_features(self, features: Tensor, prompts: Sequence[str] | None = None) -> Tensor:
        """`score` from what `embed` gave, [N, ...]: values, float32 [N] on the CPU."""
        texts, index = self._gather(prompts, len(features))
        values = [torch.zeros(0)]
        if len(features) == 0:
            return values[0]
        for part, indices in zip(features.split(self.batch_size), index.split(self.batch_size), strict=True):
            values.append(self._values(part.to(self.device), texts, indices).cpu())
        return torch.cat(values)

    @by_its_card
    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """Values [N] on the metric's device with gradient to `pixels`, float32 [N, 3, H, W] in [0, 1].

        The whole tensor is one batch. Sizes other than the network's are resized as tensors (antialiased bicubic,
        HPSv2: its own float resize), which is near the PIL path of `score`, not equal to it.
        """
        if not torch.is_tensor(pixels) or pixels.dim() != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
            raise BadInputError("pixels must be a float tensor [N, 3, H, W] in [0, 1]")
        texts, indices = self._gather(prompts, len(pixels))
        return self._values(self.encode_images(self.prepare_pixels(pixels.to(self.device))), texts, indices)


class GroupMetric(Metric):
    """The K images of one prompt -> a distance for each pair -> their mean over unordered pairs."""

    kind = Kind.GROUP
    undefined_reason = TOO_FEW

    def why_undefined(self, n: int) -> str | None:
        """`undefined_reason`, unless that is the number of images and there are enough."""
        return None if self.undefined_reason == TOO_FEW and n > 1 else self.undefined_reason

    @abstractmethod
    def pairwise(self, images: Images) -> Tensor:
        """Distances, float32 [K, K] on the CPU: symmetric, zero diagonal."""

    def score(self, images: Images, prompt: str | None = None) -> float:
        """The mean over unordered pairs; NaN for fewer than two images (`undefined_reason`)."""
        frames = to_pil(images)  # first: a broken image is an error, not an undefined value
        return mean_of_pairs(self.pairwise(frames)) if len(frames) > 1 else float("nan")


class EmbeddingGroupMetric(FeatureMetric, GroupMetric):
    """A group metric over L2-normalised embeddings; its distance is 1 - cosine: one forward pass an image."""

    made_by = ("prepare", "encode")

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> L2-normalised embeddings [B, D]."""

    def encode_images(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> L2-normalised embeddings [B, D]."""
        return self.encode(inputs)

    @property
    def by_features(self) -> bool:
        """True unless a subclass scores in a way of its own."""
        return super().by_features and type(self).score is EmbeddingGroupMetric.score

    def score(self, images: Images, prompt: str | None = None) -> float:
        """The value of the group; NaN where it is undefined (`undefined_reason`)."""
        return self.score_embeddings(self.embed(images), prompt)

    def score_embeddings(self, rows: Tensor, prompt: str | None = None) -> float:
        """`score` from what `embed` gave, [K, D]."""
        return mean_of_pairs(cosine_distances(rows)) if len(rows) > 1 else float("nan")

    def pairwise(self, images: Images) -> Tensor:
        """1 - cosine for each pair, float32 [K, K] on the CPU, in 0..2."""
        return cosine_distances(self.embed(images))


class Mergeable(Protocol):
    """Statistics of a set of images that add up over shards."""

    @property
    def n(self) -> int:
        """Number of images."""

    def __add__(self, other: Any, /) -> Self: ...


S = TypeVar("S", bound=Mergeable)


class SetMetric(Metric, Generic[S]):
    """All images against a reference set."""

    kind = Kind.SET
    undefined_reason = TOO_FEW_IN_SET

    def why_undefined(self, n: int) -> str | None:
        """`undefined_reason`, unless that is the number of images and the smaller set has enough, `n`."""
        return None if self.undefined_reason == TOO_FEW_IN_SET and n > 1 else self.undefined_reason

    @abstractmethod
    def statistics(self, images: Images) -> S:
        """Mergeable statistics of the images (`a + b` for shards)."""

    @abstractmethod
    def read_statistics(self, path: Path | str) -> S:
        """Statistics that `save` wrote to an .npz file; BadInputError if the file is something else."""

    @abstractmethod
    def distance(self, a: S, b: S) -> float:
        """The distance of two sets; NaN if one has fewer than two images."""
