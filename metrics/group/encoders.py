"""DINOv3 and SigLIP 2 diversity: mean pairwise 1 - cosine of the embeddings of the images of one prompt."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Self

import torch

from metrics.base.kinds import make_card, pick_device
from metrics.group.embedding import EncoderGroupMetric
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.image_encoders import PooledEncoder, load_dinov3, load_siglip
from metrics.types import Facts, Request


class EncoderDiversity(EncoderGroupMetric):
    """Mean pairwise 1 - cosine of a named encoder's embeddings, in 0..2; higher is more diverse."""

    @staticmethod
    @abstractmethod
    def read(folder: Path, what: str, device: torch.device, dtype: str) -> PooledEncoder:
        """The encoder of a folder of transformers; MissingWeightsError if it is another model."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of transformers: the published one, or one of the same form."""
        device = pick_device(request.device)
        folder = folder_of(facts, request)
        encoder = cls.read(folder, facts.title, device, request.dtype)
        return cls(make_card(facts, request, weight_files(folder, facts.title), encoder.settings), device, encoder)


class DINOv3(EncoderDiversity):
    """Mean pairwise 1 - cosine of DINOv3's CLS tokens (Simeoni et al. 2025, arXiv 2508.10104), in 0..2."""

    @staticmethod
    def read(folder: Path, what: str, device: torch.device, dtype: str) -> PooledEncoder:
        """From a DINOv3ViTModel folder."""
        return load_dinov3(folder, what, device, dtype)


class SigLIP2(EncoderDiversity):
    """Mean pairwise 1 - cosine of SigLIP 2's pooled embeddings (Tschannen et al. 2025, arXiv 2502.14786), in 0..2."""

    @staticmethod
    def read(folder: Path, what: str, device: torch.device, dtype: str) -> PooledEncoder:
        """From a SigLIP folder of fixed resolution, whole or the vision tower alone."""
        return load_siglip(folder, what, device, dtype)
