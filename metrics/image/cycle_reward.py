"""CycleReward (Bahng et al. 2025, arXiv 2506.02095): BLIP's towers, trained on how well a caption or an image returns.

The towers, the preprocessing and the file's keys are ImageReward's; the head has GELUs between its layers, prompts are
cut at 128 tokens, and the value is what the head says. Checked against our reading of the package `cyclereward` 0.1.7,
which loads with `strict=False`, so that another model's file would be scored with a random head; here it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from metrics.errors import MetricError
from metrics.image.image_reward import BlipScorer
from metrics.networks.blip import CYCLE_REWARD
from metrics.types import Facts, Request, one_of
from metrics.weights.hub import fetch_release, release_path
from metrics.weights.state_dict import find_file

MODELS = ("combo", "t2i", "i2t")
_FILES = {"combo": "CycleReward-Combo", "t2i": "CycleReward-T2I", "i2t": "CycleReward-I2T"}


class CycleReward(BlipScorer):
    """The head's own scale, without bounds; higher is better. `model`: trained on both tasks, or on one of them."""

    head = CYCLE_REWARD
    most_tokens = 128
    scale = "raw"
    option_help: ClassVar[Mapping[str, str]] = {"model": one_of(MODELS)}

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From the published state dict, with med_config.json and vocab.txt beside it."""
        model = request.options.get("model", "combo")
        if model not in MODELS:
            raise MetricError(f"cycle_reward: model {model!r} is not one of {', '.join(MODELS)}")
        if model != "combo":
            facts = replace(facts, title=f"{facts.title} ({str(model).upper()})")
        return super().load(facts, request)

    @classmethod
    def weights_file(cls, facts: Facts, request: Request) -> Path:
        """The state dict asked for, or the published one of the option `model`, kept in torch's hub folder."""
        name = _FILES[str(request.options.get("model", "combo"))]
        if request.weights:
            path = Path(request.weights)
            return find_file(path, (f"{name}.safetensors", f"{name}.pth"), facts.title) if path.is_dir() else path
        url = (facts.weights or "").replace(_FILES["combo"], name)
        return fetch_release(url, None, facts.title, release_path(url))

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image tokens [B, T, D] and (ids, mask) [B, L] -> rewards [B]."""
        return self.raw(features, texts)
