"""Conditional Vendi (Jalali et al. 2024, arXiv 2411.02817): the effective number of different images given the prompt.

With K the kernel of all n images and T that of their prompts, ones on both diagonals, H(A) the von Neumann entropy of
the eigenvalues of A / n: exp(H(K o T) - H(T)), o the product entry by entry. Prompts that differ altogether make it the
geometric mean of the Vendi scores of each prompt's images; prompts that are alike share their images' variety. No
reference set is needed. Checked against our reading of the paper, not against the authors' code.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from metrics.base.kinds import FeatureMetric, make_card, pick_device
from metrics.base.prompt_cache import KnownTexts
from metrics.errors import BadInputError, MetricError
from metrics.images import Images
from metrics.networks.clip_text import CLIP_TEXT, ClipTextEncoder, clip_folder, load_clip_text
from metrics.networks.encoder import Encoder
from metrics.networks.hf_folder import weight_files
from metrics.networks.image_encoders import OPTION_HELP, load_choice
from metrics.set.kinds import EncoderSetMetric
from metrics.types import Card, Facts, Request, digest_of, one_of

TEXTS = ("clip", "same")
MOST_IMAGES = 5000
"""The eigenvalues of a matrix of n x n are taken: 5,000 images need 200 MB and minutes."""


@dataclass(frozen=True)
class Prompted:
    """Features of images, float64 [N, D], and the prompt of each; `a + b` puts them one behind the other."""

    rows: Tensor
    prompts: tuple[str, ...]
    backbone: str = ""

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of features D."""
        return int(self.rows.shape[1])

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content."""
        content = self.rows.numpy().tobytes() + "\n".join(self.prompts).encode() + self.backbone.encode()
        return hashlib.sha256(content).hexdigest()

    def __add__(self, other: Prompted) -> Self:
        if not isinstance(other, Prompted):
            return NotImplemented
        if (self.backbone, self.width) != (other.backbone, other.width):
            raise BadInputError("features of two networks cannot be put together")
        return type(self)(torch.cat([self.rows, other.rows]), (*self.prompts, *other.prompts), self.backbone)


def entropy(matrix: Tensor) -> float:
    """Von Neumann entropy, in nats, of a symmetric positive matrix [n, n] over its trace."""
    values = torch.linalg.eigvalsh(matrix / matrix.trace())
    values = values[values > 0]
    return float(-(values * values.log()).sum())


def conditional_vendi(images: Tensor, texts: Tensor, groups: Sequence[int]) -> float:
    """exp(H(K o T) - H(T)) with cosine kernels of images [n, D] and of texts [P, E], `groups` [n] the text of each.

    >>> import torch
    >>> round(conditional_vendi(torch.eye(4), torch.eye(2), [0, 0, 1, 1]), 6)
    2.0
    """
    rows = torch.nn.functional.normalize(images.double(), dim=-1)
    prompts = torch.nn.functional.normalize(texts.double(), dim=-1)
    index = torch.tensor(list(groups))
    kernel = (prompts @ prompts.T)[index][:, index]
    return math.exp(entropy((rows @ rows.T) * kernel) - entropy(kernel))


class ConditionalVendi(EncoderSetMetric[Prompted]):
    """Effective number of different images given the prompt, at least about 1; higher is more diverse."""

    with_prompts: ClassVar[bool] = True
    option_help: ClassVar[Mapping[str, str]] = {
        "encoder": OPTION_HELP,
        "text": f"{one_of(TEXTS)}: cosines of CLIP's text embeddings, or prompts are equal or unrelated",
        "text_weights": f"the CLIP of `text`; default {CLIP_TEXT}",
    }

    def __init__(
        self, card: Card, device: torch.device, encoder: Encoder, width: int, texts: ClipTextEncoder | None
    ) -> None:
        super().__init__(card, device, encoder, width)
        self.texts = texts
        self._known = KnownTexts()

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of the encoder, and one of CLIP for the prompts (option `text_weights`)."""
        device = pick_device(request.device)
        how, given = request.options.get("text"), request.options.get("text_weights")
        if how not in TEXTS:
            raise MetricError(f"{facts.name}: text {how!r} is not one of {', '.join(TEXTS)}")
        if how == "same" and given is not None:
            raise MetricError(f"{facts.name}: text_weights has no meaning with text = 'same': omit one of them")
        facts, encoder, width, folder = load_choice(request.options.get("encoder"), facts, request, device)
        files: dict[str, Path] = {path.name: path for path in weight_files(folder, facts.title)}
        texts = None
        if how == "clip":
            texts, used = load_clip_text(clip_folder(given), facts.title, device)
            files |= {f"text/{path.name}": path for path in used}
        settings: dict[str, Any] = {
            **encoder.settings,
            "kernel": "cosine",
            "prompts": "cosine of CLIP's text embeddings" if texts else "equal or not",
            "entropy": "von Neumann, float64",
        }
        return cls(make_card(facts, request, files, settings), device, encoder, width, texts)

    @property
    def backbone(self) -> str:
        """Equal for metrics whose `embed` gives equal features: the prompts' side plays no part."""
        weights = {name: value for name, value in self.card.weights.items() if not name.startswith("text/")}
        settings = {**self.card.precision, **self.encoder.settings}
        return digest_of(weights=weights, settings=settings, set=True)

    @property
    def by_features(self) -> bool:
        """Values are made of features of single images, with their prompts."""
        return type(self).embed is FeatureMetric.embed

    def statistics_of(self, features: Tensor, prompts: Sequence[str] = ()) -> Prompted:
        """The features [N, D], in float64, with the prompt of each; shards are added (`a + b`)."""
        if len(prompts) != len(features):
            raise BadInputError(f"{len(features)} images need as many prompts, not {len(prompts)}")
        return Prompted(features.double(), tuple(prompts), self.backbone)

    def statistics(self, images: Images, prompts: Sequence[str] = ()) -> Prompted:
        """The features of images, with the prompt of each."""
        return self.statistics_of(self.embed(images), prompts)

    def read_statistics(self, path: Path | str) -> Prompted:
        """There are no such files: the metric compares with no reference set."""
        raise BadInputError(f"{self.name} compares with no reference set: '{path}' is not needed")

    def distance(self, a: Prompted, b: Prompted | None = None) -> float:
        """The score of all images in `a`; NaN for fewer than two. MetricError for more than `MOST_IMAGES`."""
        if a.n < 2:
            return math.nan
        if a.n > MOST_IMAGES:
            raise MetricError(
                f"{self.name} takes at most {MOST_IMAGES:,} images (its matrix is n x n), and there are {a.n:,}: use "
                "--limit, or fewer samples"
            )
        names = list(dict.fromkeys(a.prompts))
        index = {name: number for number, name in enumerate(names)}
        groups = [index[prompt] for prompt in a.prompts]
        if self.texts is None:
            texts = torch.eye(len(names), dtype=torch.float64)
        else:
            (rows,), order = self._known.gather(names, self.texts.encode)
            texts = rows[torch.tensor(order)]
        return conditional_vendi(a.rows, texts, groups)

    def notes(self, n: int | None = None, reference: Any = None) -> list[str]:
        """Says on how many images it depends."""
        found = super().notes(n)
        return [
            *found,
            "Conditional Vendi grows with the number of images a prompt, which bounds it where prompts have nothing in "
            "common, and changes with the prompts: compare over equal prompts and equally many images only",
        ]
