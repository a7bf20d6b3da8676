"""What the three kinds of metric have in common: checks, batching, gradients, units of work."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from PIL import Image
from torch import Tensor

from metrics.errors import BadInputError, MetricError, MissingWeightsError
from metrics.images import Images, check_prompts, to_pil
from metrics.types import Card, Facts, Kind, Request
from metrics.weights import digest_files, label_for, marked_label

TOO_FEW = "needs at least 2 images"


def make_card(
    facts: Facts, request: Request, files: Sequence[Path], settings: Mapping[str, Any], source: str | None = None
) -> Card:
    """The identity card of a metric that was loaded from `files` (files or folders)."""
    digests = digest_files(files)
    marks = (marked_label(item) for path in files for item in ([path] if path.is_file() else path.glob("*")))
    label = label_for(facts, request, digests, next((mark for mark in marks if mark), None))
    libraries = {}
    for name in ("torch", "torchvision", "transformers", "pillow", *facts.packages):
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    chosen = {"dtype": request.dtype, **settings}
    return Card(facts, label, source or request.weights or facts.weights or "", digests, chosen, libraries)


def pick_device(name: str) -> torch.device:
    """A torch device that exists here; MetricError (unknown name) or MissingWeightsError (not on this machine)."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MetricError(f"device '{name}' is unknown: use cpu, cuda, cuda:0 or mps.") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise MissingWeightsError(f"device '{name}' is not on this machine ({count} CUDA devices): use device='cpu'.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MissingWeightsError("device 'mps' is not on this machine: use device='cpu'.")
    return device


class Metric(ABC):
    """A loaded metric. Subclasses offer `load(facts, request)`; `card` says exactly what it is."""

    kind: ClassVar[Kind]
    undefined_reason: str | None = None  # why the value can be NaN

    def __init__(self, card: Card, device: torch.device, batch_size: int = 16) -> None:
        self.card = card
        self.device = device
        self.batch_size = batch_size
        self._notes: dict[str, None] = {}

    @classmethod
    @abstractmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """Make the metric; MissingWeightsError if weights, package or device are absent or damaged."""

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.card.name

    @property
    def backbone(self) -> str:
        """Equal for two metrics whose `embed` gives equal features: weights and settings, not the metric's name."""
        identity = {"weights": dict(self.card.weights), "settings": dict(self.card.settings)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def notes(self, n: int | None = None) -> list[str]:
        """What a reader of the value should know, as sentences; `n` is the number of images where that matters."""
        return list(self._notes)

    def _batches(self, frames: Sequence[Image.Image]) -> Iterator[Sequence[Image.Image]]:
        for start in range(0, len(frames), self.batch_size):
            yield frames[start : start + self.batch_size]


class ImageMetric(Metric):
    """(image, prompt) -> value."""

    kind = Kind.IMAGE
    convert_first: ClassVar[bool] = True  # to RGB before the preprocessing

    @abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """One image as network input, float32 [3, S, S]."""

    @abstractmethod
    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """Float pixels [N, 3, H, W] in [0, 1] as network input [N, 3, S, S], differentiable."""

    @abstractmethod
    def encode_images(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> image features [B, ...]."""

    @abstractmethod
    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Distinct prompts -> tensors whose first axis is the prompt."""

    @abstractmethod
    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image features [B, ...] and the prompts' tensors [B, ...] -> values [B]."""

    def _encode_distinct(self, prompts: list[str]) -> tuple[tuple[Tensor, ...], Tensor]:
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: index for index, prompt in enumerate(distinct)}
        with torch.no_grad():
            texts = self.encode_prompts(distinct)
        return texts, torch.tensor([place[prompt] for prompt in prompts], device=self.device)

    def _inputs(self, frames: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.prepare(frame) for frame in frames]).to(self.device)

    @torch.no_grad()
    def score(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Values, float32 [N] on the CPU, one for each (image, prompt); the unit is in the card."""
        frames = to_pil(images, convert=self.convert_first)
        checked = check_prompts(prompts, len(frames))
        if not frames:
            return torch.zeros(0)
        texts, index = self._encode_distinct(checked)
        values = []
        for batch, places in zip(self._batches(frames), index.split(self.batch_size), strict=True):
            features = self.encode_images(self._inputs(batch))
            values.append(self.compare(features, tuple(text[places] for text in texts)).float().cpu())
        return torch.cat(values)

    @torch.no_grad()
    def embed(self, images: Images) -> Tensor:
        """Image features, float32 [N, ...] on the CPU."""
        frames = to_pil(images, convert=self.convert_first)
        parts = [self.encode_images(self._inputs(batch)).float().cpu() for batch in self._batches(frames)]
        return torch.cat(parts) if parts else torch.zeros(0, 0)

    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """Values [N] on the metric's device with gradient to `pixels`, float32 [N, 3, H, W] in [0, 1].

        The whole tensor is one batch. Sizes other than the network's are resized as tensors (antialiased bicubic,
        HPSv2: its own float resize), which is near the PIL path of `score`, not equal to it.
        """
        if not torch.is_tensor(pixels) or pixels.dim() != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
            raise BadInputError("pixels must be a float tensor [N, 3, H, W] in [0, 1].")
        texts, index = self._encode_distinct(check_prompts(prompts, len(pixels)))
        features = self.encode_images(self.prepare_pixels(pixels.to(self.device)))
        return self.compare(features, tuple(text[index] for text in texts)).float()


class GroupMetric(Metric):
    """The K images of one prompt -> a distance for each pair -> their mean over unordered pairs."""

    kind = Kind.GROUP
    undefined_reason = TOO_FEW

    @abstractmethod
    def pairwise(self, images: Images) -> Tensor:
        """Distances, float32 [K, K] on the CPU: symmetric, zero diagonal."""

    def score(self, images: Images, prompt: str | None = None) -> float:
        """The mean over unordered pairs; NaN for fewer than two images (`undefined_reason`)."""
        frames = to_pil(images)  # first: a broken image is an error, not an undefined value
        return mean_of_pairs(self.pairwise(frames)) if len(frames) > 1 else float("nan")


class EmbeddingGroupMetric(GroupMetric):
    """A group metric whose distance is 1 - cosine of L2-normalised embeddings: one forward pass an image."""

    @abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as network input, float32 [3, S, S]."""

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> L2-normalised embeddings [B, D]."""

    @torch.no_grad()
    def embed(self, images: Images) -> Tensor:
        """L2-normalised embeddings, float32 [K, D] on the CPU."""
        frames = to_pil(images)
        parts = []
        for batch in self._batches(frames):
            inputs = torch.stack([self.prepare(frame) for frame in batch]).to(self.device)
            parts.append(self.encode(inputs).float().cpu())
        return torch.cat(parts) if parts else torch.zeros(0, 0)

    def pairwise(self, images: Images) -> Tensor:
        """1 - cosine for each pair, float32 [K, K] on the CPU, in 0..2."""
        return cosine_distances(self.embed(images))


def cosine_distances(embeddings: Tensor) -> Tensor:
    """1 - cosine of rows [K, D] in float64 -> float32 [K, K], as |a - b|^2 / 2; below 1e-12 (rounding) exactly 0."""
    rows = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    distances[distances < 1e-12] = 0.0
    return distances.to(torch.float32)


def mean_of_pairs(distances: Tensor) -> float:
    """Mean of the entries above the diagonal of [K, K], in float64; NaN for K < 2."""
    count = distances.shape[0]
    if count < 2:
        return float("nan")
    rows, columns = torch.triu_indices(count, count, offset=1)
    return float(distances.double()[rows, columns].mean())


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
    undefined_reason = "needs at least 2 images on each side"

    @abstractmethod
    def statistics(self, images: Images) -> S:
        """Mergeable statistics of the images (`a + b` for shards)."""

    @abstractmethod
    def read_statistics(self, path: Path | str) -> S:
        """Statistics that `save` wrote to an .npz file; BadInputError if the file is something else."""

    @abstractmethod
    def distance(self, a: S, b: S) -> float:
        """The distance of two sets; NaN if one has fewer than two images."""
