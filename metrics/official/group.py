"""The two diversities of the official evaluation code: DINO and CLIP on the input that all its rewards share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.features import FeatureMetric
from metrics.base.pairs import mean_of_pairs
from metrics.group.clip_diversity import ClipDiversity
from metrics.group.dino import Dino
from metrics.group.embedding import EncoderGroupMetric
from metrics.images import Images
from metrics.networks.preprocess import to_unit
from metrics.official.measure import (
    OPTION_HELP,
    SETTINGS,
    Logged,
    coarse_distances,
    logged_diversity,
    shared_inputs,
    switches,
)
from metrics.types import Facts, Request

__all__ = ["OfficialClipDiversity", "OfficialDino"]


class OfficialDiversity(EncoderGroupMetric):
    """Mean pairwise 1 - cosine of the images of a prompt, cosines in bfloat16.

    The one number of the official code takes 5 consecutive images for those of a prompt (`logged`).
    """

    option_help: ClassVar[Mapping[str, str]] = OPTION_HELP
    antialias: bool = True
    batch: int

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """As the metric itself is loaded, with the protocol's settings in its card."""
        antialias, batch = switches(facts, request)
        metric = super().load(facts, request)
        metric.antialias, metric.batch = antialias, batch
        chosen = {**metric.card.settings, **SETTINGS, "antialias": antialias, "batch": batch}
        chosen.pop("passes", None)
        metric.card = replace(metric.card, settings=chosen)
        return metric

    @property
    def backbone(self) -> str:
        """Never that of another protocol: the input and the precision differ."""
        found = FeatureMetric.backbone.fget  # type: ignore[attr-defined]
        return str(found(self))

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> the shared input [3, S, S]."""
        size = int(self.card.settings["image_size"])
        return shared_inputs(to_unit(image)[None], size, antialias=self.antialias)[0]

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised embeddings [B, D], under bfloat16 autocast."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return super().encode(inputs)

    def score_embeddings(self, rows: Tensor, prompt: str | None = None) -> float:
        """The value of a group from what `embed` gave, [K, D]."""
        return mean_of_pairs(coarse_distances(rows)) if len(rows) > 1 else float("nan")

    def pairwise(self, images: Images) -> Tensor:
        """1 - cosine for each pair, float32 [K, K] on the CPU."""
        return coarse_distances(self.embed(images))

    def logged(self, rows: Tensor, samples: int) -> Logged:
        """The number that the official code logs of the embeddings of all images [N, D], `samples` a prompt."""
        return logged_diversity(rows, samples, self.batch)


class OfficialDino(OfficialDiversity, Dino):
    """CLS tokens of DINO ViT-S/16, with CLIP's mean and deviation."""


class OfficialClipDiversity(OfficialDiversity, ClipDiversity):
    """Projected embeddings of CLIP ViT-B/32."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """CLIP ViT-B/32 unless other weights are given."""
        backbone = "vit-b-32" if request.weights is None else "vit-l-14"
        options = {**request.options, "backbone": backbone}
        metric = super().load(facts, replace(request, options=options))
        metric.card = replace(metric.card, facts=replace(metric.card.facts, weights=facts.weights))
        return metric
