"""The Frechet distance in the features of any encoder by name: DINOv2, DINOv3, SigLIP 2 or CLIP.

With `encoder = "dinov2"` it is FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from metrics.base.kinds import make_card, pick_device
from metrics.networks.hf_folder import weight_files
from metrics.networks.image_encoders import OPTION_HELP, load_choice
from metrics.set.kinds import EncoderSetMetric, FrechetMetric
from metrics.set.moments import Moments
from metrics.types import Facts, Request


class FD(EncoderSetMetric[Moments], FrechetMetric):
    """Frechet distance of two sets of images in an encoder's features; 0 is equal, lower is nearer."""

    option_help: ClassVar[Mapping[str, str]] = {"encoder": OPTION_HELP}

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a folder of the encoder that the option names."""
        device = pick_device(request.device)
        facts, encoder, width, folder = load_choice(request.options.get("encoder"), facts, request, device)
        settings = {**encoder.settings, "statistics": "float64"}
        return cls(make_card(facts, request, weight_files(folder, facts.title), settings), device, encoder, width)
