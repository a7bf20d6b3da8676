"""ImageReward (Xu et al. 2023, arXiv 2304.05977): BLIP's two towers of transformers and a linear head.

Value = (head([CLS] of the text that attends to the image) - mean) / deviation, the published scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.kinds import ImageMetric, make_card, pick_device
from metrics.errors import MissingWeightsError
from metrics.images import to_rgb
from metrics.networks.blip import IMAGE_REWARD, BlipReward, HeadForm, build, tokenizer_for
from metrics.networks.preprocess import (
    CLIP_MEAN,
    CLIP_STD,
    PASSES,
    Crop,
    normalise,
    resize_crop,
    resize_crop_tensor,
    to_unit,
)
from metrics.types import Card, Facts, Request
from metrics.weights.hub import locate
from metrics.weights.pins import pinned
from metrics.weights.state_dict import find_file, read_json, read_state

REWARD_MEAN = 0.16717362830052426
REWARD_DEVIATION = 1.0333394966054072
MAX_TOKENS = 35
_BERT_VOCABULARY = "google-bert/bert-base-uncased:vocab.txt"


class BlipScorer(ImageMetric):
    """A reward of BLIP's two towers and a head: what ImageReward and CycleReward share."""

    head: ClassVar[HeadForm]
    names: ClassVar[tuple[str, ...]]  # files looked for in a folder, in this order
    most_tokens: ClassVar[int]
    scale: ClassVar[str]
    convert_first = False  # officially the image is resized in its own mode (palette, alpha) and then made RGB

    def __init__(self, card: Card, request: Request, network: BlipReward, tokenizer: Any) -> None:
        super().__init__(card, pick_device(request.device))
        self.dtype: torch.dtype = getattr(torch, request.dtype)
        self.network = network.to(self.device)
        self.network.vision.to(self.dtype)
        self.network.text.to(self.dtype)  # the head stays in float32, as officially
        self.tokenizer = tokenizer
        self.size = int(card.settings["image_size"])
        self.token_limit = int(card.settings["max_tokens"])

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From the official state dict, with med_config.json and vocab.txt beside it; sizes come from the tensors."""
        pick_device(request.device)
        path = cls.weights_file(facts, request)
        folder, where = path.parent, f"{facts.title}: '{path}'"
        config_file, vocabulary = folder / "med_config.json", folder / "vocab.txt"
        config = read_json(config_file, facts.title) if config_file.is_file() else None
        network = build(read_state(path), config, where, cls.head)
        if not vocabulary.is_file():
            vocabulary = locate(pinned(_BERT_VOCABULARY))
        tokenizer = tokenizer_for(vocabulary, network.words, where)
        settings = {
            "resize": "PIL bicubic, shortest side",
            "passes": PASSES,
            "antialias": True,
            "crop": Crop.EVEN.value,
            "image_size": network.image_size,
            "mean": list(CLIP_MEAN),
            "deviation": list(CLIP_STD),
            "colour": "resized in the image's own mode, then RGB",
            "max_tokens": min(cls.most_tokens, network.positions),
            "longer_prompts": "cut, keeping the end token",
            "scale": cls.scale,
        }
        files = [path, vocabulary, *([config_file] if config_file.is_file() else [])]
        return cls(make_card(facts, request, files, settings), request, network, tokenizer)

    @classmethod
    def weights_file(cls, facts: Facts, request: Request) -> Path:
        """The state dict asked for, or the published one; MissingWeightsError if it is not to be had."""
        path = locate(request.weights or pinned(facts.weights or ""))
        return find_file(path, cls.names, facts.title) if path.is_dir() else path

    def prepare(self, image: Image.Image) -> Tensor:
        """An image of any mode -> [3, S, S]: PIL bicubic shortest side, centre crop, RGB, CLIP mean and deviation."""
        return normalise(to_unit(to_rgb(resize_crop(image, self.size))), CLIP_MEAN, CLIP_STD)

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, 3, S, S], differentiable."""
        return normalise(resize_crop_tensor(pixels, self.size), CLIP_MEAN, CLIP_STD)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> all image tokens [B, T, D] after the last norm (they do not depend on the prompt)."""
        tokens: Tensor = self.network.vision(inputs.to(self.dtype)).last_hidden_state
        return tokens

    def token_lengths(self, prompts: list[str]) -> list[int]:
        """The tokens of each prompt, [CLS] and [SEP] included."""
        return [len(ids) for ids in self.tokenizer(prompts, verbose=False).input_ids]

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Prompts -> (ids [P, L], mask [P, L]), cut at the official number of tokens; the first token is [CLS]."""
        limit = self.token_limit
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        if int(tokens.input_ids.max()) >= self.network.words:
            raise MissingWeightsError(
                f"{self.card.facts.title}: vocab.txt has more tokens than the weights ({self.network.words})"
            )
        return tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device)

    def raw(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image tokens [B, T, D] and (ids, mask) [B, L] -> what the head says, [B]."""
        return self.network.reward(features.to(self.dtype), texts[0], texts[1])


class ImageReward(BlipScorer):
    """Normalised reward: 0 is the mean, 1 the deviation of the official training annotations."""

    head = IMAGE_REWARD
    names = ("ImageReward.safetensors", "ImageReward.pt", "*.safetensors", "*.pt")
    most_tokens = MAX_TOKENS
    scale = f"(raw - {REWARD_MEAN}) / {REWARD_DEVIATION}"

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Image tokens [B, T, D] and (ids, mask) [B, L] -> rewards [B] on the published scale."""
        return (self.raw(features, texts) - REWARD_MEAN) / REWARD_DEVIATION
