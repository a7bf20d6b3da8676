"""FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675): Frechet distance of DINOv2 ViT-L/14 features.

As the authors' code by default: the CLS token after the final norm (`metrics.networks.dinov2`).
"""

from __future__ import annotations

from typing import Self

from metrics.base.kinds import make_card, pick_device
from metrics.networks.dinov2 import load_dinov2
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.set.kinds import EncoderSetMetric, FrechetMetric
from metrics.set.moments import Moments
from metrics.types import Facts, Request


class FDDinov2(EncoderSetMetric[Moments], FrechetMetric):
    """Frechet distance of two sets of images in DINOv2's features; 0 is equal, lower is nearer."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers Dinov2Model folder."""
        device = pick_device(request.device)
        folder = folder_of(facts, request)
        encoder = load_dinov2(folder, facts.title, device, request.dtype)
        settings = {**encoder.settings, "statistics": "float64"}
        card = make_card(facts, request, weight_files(folder, facts.title), settings)
        return cls(card, device, encoder, encoder.width)
