"""DINO diversity: mean pairwise 1 - cosine of the CLS tokens of a DINO ViT (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

from typing import Self

from metrics.base.kinds import make_card, pick_device
from metrics.group.embedding import EncoderGroupMetric
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.vit import load_encoder
from metrics.types import Facts, Request


class Dino(EncoderGroupMetric):
    """Mean pairwise 1 - cosine, in 0..2. The CLS token is taken after the final norm, as Hugging Face's DINO gives it.

    Preprocessing is Hugging Face's (squash to the network's square, mean and deviation 0.5 unless
    preprocessor_config.json says otherwise), not the resize-and-crop of DINO's own evaluation.
    """

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers ViTModel folder."""
        device = pick_device(request.device)
        folder = folder_of(facts, request)
        encoder = load_encoder(folder, facts.title, device, request.dtype, final_norm=True)
        files = weight_files(folder, facts.title)
        return cls(make_card(facts, request, files, encoder.settings), device, encoder)
