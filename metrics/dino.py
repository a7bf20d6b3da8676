"""DINO diversity: mean pairwise 1 - cosine of the CLS tokens of a DINO ViT (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

from typing import Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base import EmbeddingGroupMetric, make_card, pick_device
from metrics.hf_folder import folder_of, weight_files
from metrics.types import Card, Facts, Request
from metrics.vit import ClsEncoder, load_encoder


class Dino(EmbeddingGroupMetric):
    """Mean pairwise 1 - cosine, in 0..2. The CLS token is taken after the final norm, as Hugging Face's DINO gives it.

    Preprocessing is Hugging Face's (squash to the network's square, mean and deviation 0.5 unless
    preprocessor_config.json says otherwise), not the resize-and-crop of DINO's own evaluation.
    """

    def __init__(self, card: Card, device: torch.device, encoder: ClsEncoder) -> None:
        super().__init__(card, device)
        self.encoder = encoder

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers ViTModel folder."""
        device = pick_device(request.device)
        folder = folder_of(facts, request)
        encoder = load_encoder(folder, facts.title, device, request.dtype, final_norm=True)
        files = [*weight_files(folder, facts.title)]
        return cls(make_card(facts, request, files, encoder.settings), device, encoder)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]."""
        return self.encoder.prepare(image)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised CLS tokens [B, D]."""
        return functional.normalize(self.encoder.encode(inputs), dim=-1)
