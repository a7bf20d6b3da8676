"""The image rewards of the official evaluation code: HPSv2.1, PickScore, ImageReward and CLIPScore on one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.features import FeatureMetric
from metrics.base.kinds import ImageMetric
from metrics.image.clip_score import ClipMetric, PickScore
from metrics.image.hpsv2 import HPSv2
from metrics.image.image_reward import ImageReward
from metrics.networks.clip_image import with_backbone
from metrics.networks.preprocess import to_unit
from metrics.official.measure import (
    OPTION_HELP,
    SETTINGS,
    Logged,
    coarse_cosine,
    logged_mean,
    shared_inputs,
    switches,
)
from metrics.types import Facts, Request

__all__ = ["OfficialCLIPScore", "OfficialHPSv2", "OfficialImageReward", "OfficialPickScore"]


class Official(ImageMetric):
    """What the four share; the first of their base classes."""

    convert_first = True  # the decoded picture is RGB
    option_help: ClassVar[Mapping[str, str]] = OPTION_HELP
    size: int
    antialias: bool = True
    batch: int

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """As the metric itself is loaded, with the protocol's settings in its card."""
        antialias, batch = switches(facts, request)
        metric = super().load(facts, request)
        metric.antialias, metric.batch = antialias, batch
        chosen = {**metric.card.settings, **SETTINGS, **cls._described_officially(), "antialias": antialias}
        chosen.pop("passes", None)
        metric.card = replace(metric.card, settings={**chosen, "image_size": metric.size, "batch": batch})
        return metric

    @classmethod
    def _described_officially(cls) -> dict[str, Any]:
        return {}

    @property
    def backbone(self) -> str:
        """Never that of another protocol: the input and the precision differ."""
        found = FeatureMetric.backbone.fget  # type: ignore[attr-defined]
        return str(found(self))

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> the shared input [3, S, S]."""
        return shared_inputs(to_unit(image)[None], self.size, antialias=self.antialias)[0]

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> the shared input [N, 3, S, S], differentiable."""
        return shared_inputs(pixels, self.size, antialias=self.antialias)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """As the metric itself, under bfloat16 autocast."""
        with self._coarse():
            return super().encode_images(inputs)  # type: ignore[safe-super]

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """As the metric itself, under bfloat16 autocast."""
        with self._coarse():
            return super().encode_prompts(prompts)  # type: ignore[safe-super]

    def _coarse(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def logged(self, values: Tensor) -> Logged:
        """The number that the official code logs of the values of all images [N], prompt by prompt."""
        return logged_mean(values, self.batch)


class OfficialHPSv2(Official, HPSv2):
    """Cosine of HPSv2.1, a matrix product in bfloat16."""

    def _precision(self) -> torch.autocast:
        return self._coarse()

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Cosine of each row, in steps of bfloat16."""
        return coarse_cosine(features, texts[0])


class OfficialPickScore(Official, PickScore):
    """exp(logit_scale) x cosine, both rounded to bfloat16."""

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Scale x cosine of each row, in steps of bfloat16."""
        return (self.scale * coarse_cosine(features, texts[0])).to(torch.bfloat16).float()


class OfficialCLIPScore(Official, ClipMetric):
    """The bare cosine of CLIP ViT-B/32, in bfloat16."""

    @classmethod
    def _source(cls, facts: Facts, request: Request) -> Facts:
        return with_backbone(facts, "vit-b-32")

    @classmethod
    def _described(cls, facts: Facts, request: Request, folder: Path) -> tuple[Facts, dict[str, Any]]:
        return facts, {"score": "cosine"}

    def _scale(self) -> float:
        return 1.0

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Cosine of each row, in steps of bfloat16."""
        return coarse_cosine(features, texts[0])


class OfficialImageReward(Official, ImageReward):
    """The raw reward: neither the mean nor the deviation of the published scale is taken out."""

    @classmethod
    def _described_officially(cls) -> dict[str, Any]:
        return {"scale": "raw"}

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image tokens [B, T, D] and (ids, mask) [B, L] -> raw rewards [B], in steps of bfloat16."""
        with self._coarse():
            raw: Tensor = self.network.reward(features, texts[0], texts[1])
        return raw.to(torch.bfloat16).float()
