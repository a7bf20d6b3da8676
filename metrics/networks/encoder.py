"""A network that turns images into embeddings."""

from __future__ import annotations

from typing import Any, Protocol

from PIL import Image
from torch import Tensor


class Encoder(Protocol):
    """Images -> embeddings; `settings` say what decides them."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the embeddings, besides the weights."""

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as network input, float32 [3, S, S]."""

    def encode(self, inputs: Tensor) -> Tensor:
        """Network input [B, 3, S, S] -> embeddings, float32 [B, D]."""
