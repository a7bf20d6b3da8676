"""Group metrics over an image encoder: what DINO, CLIP diversity and the Vendi score share."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.kinds import EmbeddingGroupMetric
from metrics.networks.encoder import Encoder
from metrics.types import Card, digest_of


def features_digest(card: Card, settings: dict[str, Any]) -> str:
    """Equal for metrics whose embeddings are equal: the weights and what the encoder says, not what is made of them."""
    return digest_of(weights=dict(card.weights), settings={**card.precision, **settings})


class EncoderGroupMetric(EmbeddingGroupMetric):
    """Mean pairwise 1 - cosine of an encoder's embeddings, in 0..2."""

    def __init__(self, card: Card, device: torch.device, encoder: Encoder) -> None:
        super().__init__(card, device)
        self.encoder = encoder

    @property
    def backbone(self) -> str:
        """Equal for two metrics whose `embed` gives equal embeddings."""
        return features_digest(self.card, self.encoder.settings)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]."""
        return self.encoder.prepare(image)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised embeddings [B, D]."""
        return functional.normalize(self.encoder.encode(inputs), dim=-1)
