"""CLIP diversity: mean pairwise 1 - cosine of the image embeddings of one prompt (CLIP: Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Self

from metrics.base.kinds import make_card, pick_device
from metrics.group.embedding import EncoderGroupMetric
from metrics.networks.clip_image import BACKBONES, CLIP_FILES, DEFAULT, identify, load_clip_images, with_backbone
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.types import Facts, Request, one_of


class ClipDiversity(EncoderGroupMetric):
    """Mean pairwise 1 - cosine of projected CLIP image embeddings, in 0..2; higher is more diverse."""

    option_help: ClassVar[Mapping[str, str]] = {
        "backbone": one_of(BACKBONES),
    }

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers CLIPModel folder; the option `backbone` chooses the published one."""
        device = pick_device(request.device)
        name = request.options.get("backbone", DEFAULT)
        facts = with_backbone(facts, name)
        folder = folder_of(facts, request, CLIP_FILES)
        encoder = load_clip_images(folder, facts.title, device, request.dtype)
        facts, backbone = identify(facts, request, name, folder)
        facts = replace(facts, title=f"{facts.title} {backbone}".strip())
        files = weight_files(folder, facts.title)
        return cls(make_card(facts, request, files, encoder.settings), device, encoder)
