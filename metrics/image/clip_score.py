"""PickScore and CLIPScore: a transformers CLIPModel and its own tokenizer.

PickScore (Kirstain et al. 2023, arXiv 2305.01569): exp(logit_scale) * cos(image, text).
CLIPScore (Hessel et al. 2021, arXiv 2104.08718): variant "cosine" is 100 * cos(image, text), "paper" the
paper's and its code's 2.5 * max(cos, 0) with the prefix "A photo depicts " (there on ViT-B/32).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.kinds import ImageMetric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.networks.clip_image import BACKBONES, CLIP_FILES, DEFAULT, identify, image_settings, with_backbone
from metrics.networks.clip_preprocessor import Scale, read_scale
from metrics.networks.clip_tokenizer import load_tokenizer, tokenizer_files
from metrics.networks.hf_folder import TOKENIZER_FILES, folder_of, load_folder, weight_files
from metrics.networks.preprocess import Crop, normalise, resize_crop, resize_crop_tensor, to_unit
from metrics.types import Card, Facts, Request, digest_of, one_of

# Checkpoints saved by transformers 4 carry these buffers; they hold 0, 1, 2, ... and nothing else.
_DROP = (r"(text|vision)_model\.embeddings\.position_ids",)
_MAX_TOKENS = 77
_PREFIX = "A photo depicts "
_PAPER_SCALE = 2.5


class ClipMetric(ImageMetric):
    """Cosine of CLIP image and text features; subclasses scale it."""

    def __init__(self, card: Card, request: Request, model: Any, tokenizer: Any) -> None:
        super().__init__(card, pick_device(request.device))
        self.model = model.to(device=self.device, dtype=getattr(torch, request.dtype))
        self.tokenizer = tokenizer
        self.size = int(model.config.vision_config.image_size)
        self.token_limit = int(card.settings["max_tokens"])
        self.scale = self._scale()
        self._pixels = Scale(tuple(card.settings["mean"]), tuple(card.settings["deviation"]))
        self.prefix = str(card.settings.get("prefix", ""))
        self._check_eos()

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers CLIPModel folder; sizes come from its config.json."""
        from transformers import CLIPModel

        pick_device(request.device)
        facts = cls._source(facts, request)
        folder = folder_of(facts, request, CLIP_FILES + TOKENIZER_FILES)
        model = load_folder(CLIPModel, folder, facts.title, drop=_DROP)
        tokenizer = load_tokenizer(folder, int(model.config.text_config.vocab_size), facts.title)
        facts, more = cls._described(facts, request, folder)
        scale = read_scale(folder, int(model.config.vision_config.image_size), facts.title)
        settings = {
            **image_settings(model.config, scale),
            "tokenizer": "transformers CLIPTokenizer",
            "max_tokens": min(_MAX_TOKENS, int(model.config.text_config.max_position_embeddings)),
            "longer_prompts": "cut, keeping the end token",
            "text_pooling": "first end-of-text token",  # of both branches of transformers: eos_token_id 2 or its own
            **more,
        }
        files = [*weight_files(folder, facts.title), *tokenizer_files(folder)]
        card = make_card(facts, request, files, settings)
        return cls(card, request, model, tokenizer)

    @classmethod
    def _source(cls, facts: Facts, request: Request) -> Facts:
        """The facts with the source of the weights that the options ask for."""
        return facts

    @classmethod
    def _described(cls, facts: Facts, request: Request, folder: Path) -> tuple[Facts, dict[str, Any]]:
        """The facts for the card, and settings beyond those of the two towers."""
        return facts, {"score": "exp(logit_scale) x cosine"}

    @property
    def backbone(self) -> str:
        """Equal for two metrics whose `embed` gives equal image embeddings: the text side plays no part."""
        weights = {name: value for name, value in self.card.weights.items() if name not in TOKENIZER_FILES}
        settings = {**self.card.precision, **image_settings(self.model.config, self._pixels)}
        return digest_of(weights=weights, settings=settings)

    def _scale(self) -> float:
        raise NotImplementedError

    def _check_eos(self) -> None:
        """transformers pools the text at eos_token_id; an id that never occurs pools position 0 for every prompt.

        2 is the legacy value for which the largest id is taken, which must then be the end-of-text token.
        """
        eot, config = self.tokenizer.eos_token_id, self.model.config.text_config
        if config.eos_token_id not in (2, eot):
            raise MissingWeightsError(
                f"{self.card.facts.title}: config.json has text eos_token_id {config.eos_token_id}, but the tokenizer "
                f"ends texts with {eot}: scores would not depend on the prompt. Set it to {eot}."
            )
        largest = max(self.tokenizer.get_vocab().values())
        if eot != largest or largest >= config.vocab_size:
            raise MissingWeightsError(
                f"{self.card.facts.title}: the tokenizer's end-of-text id {eot} must be its largest id ({largest}) and "
                f"below the model's vocabulary size ({config.vocab_size}): they do not belong together"
            )

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]: PIL bicubic shortest side, centre crop, mean and deviation of the folder."""
        pixels = to_unit(resize_crop(image, self.size, crop=Crop.DOWN))
        return normalise(pixels, self._pixels.mean, self._pixels.deviation)

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, 3, S, S], differentiable."""
        cut = resize_crop_tensor(pixels, self.size, Crop.DOWN)
        return normalise(cut, self._pixels.mean, self._pixels.deviation)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised image features [B, D]."""
        features = self.model.get_image_features(pixel_values=inputs.to(self.model.dtype)).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def token_lengths(self, prompts: list[str]) -> list[int]:
        """The tokens of each prompt with its prefix, the two ends included."""
        texts = [self.prefix + prompt for prompt in prompts]
        return [len(ids) for ids in self.tokenizer(texts, verbose=False).input_ids]

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Prompts -> (L2-normalised text features [P, D],); longer prompts are cut, keeping the end token."""
        texts = [self.prefix + prompt for prompt in prompts]
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.token_limit, return_tensors="pt"
        ).to(self.device)
        if not bool((tokens.input_ids == self.tokenizer.eos_token_id).any(dim=1).all()):
            raise MissingWeightsError(f"{self.card.facts.title}: the tokenizer does not end texts with its end token")
        features = self.model.get_text_features(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
        ).pooler_output
        return (functional.normalize(features.float(), dim=-1),)

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """scale * cosine of each row."""
        return self.scale * (features * texts[0]).sum(dim=-1)


class PickScore(ClipMetric):
    """exp(logit_scale) * cosine (about 20 for real images with the published weights)."""

    def _scale(self) -> float:
        return float(self.model.logit_scale.float().exp())


class CLIPScore(ClipMetric):
    """100 * cosine, without clamp and without prefix; or the paper's 2.5 * max(cosine, 0) with its prefix."""

    option_help: ClassVar[Mapping[str, str]] = {
        "backbone": one_of(BACKBONES),
        "variant": '`cosine` (100 cos) or `paper` (2.5 max(cos, 0), prefix "A photo depicts ")',
    }

    @classmethod
    def _source(cls, facts: Facts, request: Request) -> Facts:
        variant = request.options.get("variant", "cosine")
        if variant not in ("cosine", "paper"):
            raise MetricError(f"clip_score: variant {variant!r} is not one of cosine, paper")
        return with_backbone(facts, request.options.get("backbone", DEFAULT))

    @classmethod
    def _described(cls, facts: Facts, request: Request, folder: Path) -> tuple[Facts, dict[str, Any]]:
        facts, backbone = identify(facts, request, str(request.options.get("backbone", DEFAULT)), folder)
        title = f"{facts.title} {backbone}".strip()
        if request.options.get("variant", "cosine") == "cosine":
            return replace(facts, title=title), {"variant": "cosine", "score": "100 x cosine", "prefix": ""}
        score = f"{_PAPER_SCALE} x max(cosine, 0)"
        facts = replace(facts, title=f"{title}, paper's variant", unit=score, low=0.0, high=_PAPER_SCALE)
        return facts, {"variant": "paper", "score": score, "prefix": _PREFIX}

    def _scale(self) -> float:
        return _PAPER_SCALE if self.card.settings["variant"] == "paper" else 100.0

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """scale * cosine of each row; the paper's variant is 0 for negative cosines."""
        values = super().compare(features, texts)
        return values.clamp_min(0.0) if self.card.settings["variant"] == "paper" else values
