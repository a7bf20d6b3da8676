"""What the set metrics share: features of images, and notes on the number of images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from PIL import Image
from torch import Tensor

from metrics.base.kinds import FeatureMetric, S, SetMetric
from metrics.images import Images
from metrics.networks.encoder import Encoder
from metrics.set.frechet import frechet_distance
from metrics.set.frechet_interval import Reference, leave_one_out
from metrics.set.moments import Array, Features, Moments
from metrics.types import Card


class Counted(Protocol):
    """Statistics whose number of images and digest can be told."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def digest(self) -> str:
        """sha256 of the content."""


class FeatureSetMetric(FeatureMetric, SetMetric[S]):
    """A set metric over one feature vector an image."""

    depends_on_count: ClassVar[bool] = True  # whether the expected value changes with the number of images

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features D."""

    @property
    def by_features(self) -> bool:
        """True unless a subclass makes its statistics in a way of its own."""
        return super().by_features and type(self).statistics is FeatureSetMetric.statistics

    @abstractmethod
    def statistics_of(self, features: Tensor) -> S:
        """Mergeable statistics, in float64, of what `embed` gave, [N, D]."""

    def statistics(self, images: Images) -> S:
        """Mergeable statistics of the images (`a + b` for shards)."""
        return self.statistics_of(self.embed(images))

    def notes(self, n: int | None = None, reference: Counted | None = None) -> list[str]:
        """How many images the value is over, and what follows from it; `reference`: statistics of the other side."""
        found = super().notes(n)
        against = ""
        if reference is not None:
            of = f"{reference.n:,} reference images" if reference.n else "given statistics of unstated images"
            against = f" against {of} (sha256 {reference.digest[:12]})"
        if n is not None:
            equal = ": compare only over equally many" if self.depends_on_count else ""
            found.append(f"{self.card.facts.title} over {n:,} images{against}{equal}")
            found += self._few(n, "images")
        if reference is not None and reference.n:
            found += self._few(reference.n, "reference images")
        return found

    def _few(self, n: int, what: str) -> list[str]:
        """A warning where `n` images are too few, as a list of no or one sentence."""
        return []


class FrechetMetric(FeatureSetMetric[Moments]):
    """Squared Frechet distance of two sets of images; 0 is equal, lower is nearer. Biased upwards for few images."""

    _reference: tuple[str, Reference] | None = None  # by its digest

    def statistics_of(self, features: Tensor) -> Moments:
        """Count, mean and scatter of features [N, D], in float64; shards are added (`a + b`)."""
        return Moments.of(features.numpy(), self.backbone)

    def read_statistics(self, path: Path | str) -> Moments:
        """Statistics from an .npz file; BadInputError if the file is something else."""
        return Moments.read(path)

    def distance(self, a: Moments, b: Moments) -> float:
        """The distance, at least 0; NaN if one side has fewer than two images. BadInputError if the networks differ."""
        a + b  # refuses statistics of different networks
        return frechet_distance(a, b)

    def leave_one_out(self, blocks: Sequence[Moments], against: Moments) -> tuple[float, list[float]]:
        """`distance` of all blocks together, and with each left out in turn (none for fewer than three blocks).

        On the metric's device, with the reference's covariance factored once for all and kept for the next call.
        BadInputError if the networks differ.
        """
        blocks[0] + against  # refuses statistics of different networks
        digest = against.digest
        if self._reference is None or self._reference[0] != digest:
            self._reference = digest, Reference.of(against, self.device)
        return leave_one_out(blocks, self._reference[1])

    def _few(self, n: int, what: str) -> list[str]:
        if n > self.width:
            return []
        return [
            f"{self.card.facts.title} with {n:,} {what} is biased upwards: {self.width:,} features need at least "
            f"{self.width + 1:,} images for a full covariance"
        ]


class KernelMetric(FeatureSetMetric[Features]):
    """Squared maximum mean discrepancy (MMD) of two sets of images, near 0 for equal distributions."""

    @abstractmethod
    def discrepancy(self, a: Array, b: Array) -> float:
        """The value for features, float64 [N, D] and [M, D]; NaN for fewer than two rows."""

    def statistics_of(self, features: Tensor) -> Features:
        """The features [N, D], in float64; shards are added (`a + b`)."""
        return Features(features.double().numpy(), self.backbone)

    def read_statistics(self, path: Path | str) -> Features:
        """Statistics from an .npz file; BadInputError if the file is something else."""
        return Features.read(path)

    def distance(self, a: Features, b: Features) -> float:
        """The value; NaN if one side has fewer than two images. BadInputError if the networks differ."""
        if (a.backbone, a.width) != (b.backbone, b.width):
            a + b  # raises
        return self.discrepancy(a.rows, b.rows)


class EncoderSetMetric(FeatureSetMetric[S]):
    """A set metric whose features are an encoder's embeddings."""

    def __init__(self, card: Card, device: torch.device, encoder: Encoder, width: int) -> None:
        super().__init__(card, device)
        self.encoder = encoder
        self._width = width

    @property
    def width(self) -> int:
        """Number of features D."""
        return self._width

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> network input [3, S, S]."""
        return self.encoder.prepare(image)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> features [B, D]."""
        return self.encoder.encode(inputs)
