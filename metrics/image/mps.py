"""MPS, the multi-dimensional preference score (Zhang et al. 2024, CVPR; arXiv 2405.14705), trained on overall choices.

A CLIP ViT-H/14 gives tokens of image and prompt. Words of the prompt that resemble none of the condition's words are
masked; the image tokens attend to the others (`metrics.networks.cross_modelling`), and the value is
exp(logit_scale) * cos(first image token, end token of the prompt). The text of the condition (mps_condition.txt) is the
network's input and comes from the original code (MIT licence).

A word is kept where its largest product with a word of the condition is above `threshold` times the largest of the
prompt: 0.01 as in the network's own forward pass and its README, 0.3 in the authors' script for HPDv2. The forward pass
takes that largest value over the whole batch; here each prompt is alone, so no value depends on others. The original
runs in float16.

The authors publish a pickled module, which runs code when it is loaded; it is never unpickled here. The same weights as
safetensors (a conversion by others) are read as they are, and so is a state dict that a user saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.metric import Metric, make_card, pick_device
from metrics.base.precision import by_its_card
from metrics.errors import MetricError, MissingWeightsError
from metrics.images import Images, check_prompts, to_pil
from metrics.networks.clip_image import image_settings
from metrics.networks.clip_preprocessor import PREPROCESSOR_FILES, Scale, read_scale
from metrics.networks.clip_tokenizer import load_tokenizer, tokenizer_files
from metrics.networks.cross_modelling import CrossModel
from metrics.networks.hf_folder import TOKENIZER_FILES
from metrics.networks.preprocess import Crop, normalise, resize_crop, to_unit
from metrics.types import Card, Facts, Kind, Request
from metrics.weights.hub import locate
from metrics.weights.pins import pinned
from metrics.weights.state_dict import find_file, load_strict, read_json, read_state

BASE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_CONDITION = Path(__file__).with_name("mps_condition.txt")
_DROP = (r"(text|vision)_model\.embeddings\.position_ids",)
_HOW = (
    "the authors' file is a pickled module that runs code when it is loaded: give RE-N-Y/mpsv1 or save its state dict, "
    "in an environment that you trust it in, with torch.save(model.state_dict(), 'mps.pt')"
)


def split_state(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(CLIP, cross model) of a state dict `[mps.]model.*`, `[mps.]cross_model.*`; MissingWeightsError for another."""
    parts: dict[str, dict[str, Tensor]] = {"model.": {}, "cross_model.": {}}
    for key, value in state.items():
        name = key.removeprefix("mps.")
        start = next((one for one in parts if name.startswith(one)), None)
        if start is None:
            raise MissingWeightsError(f"{where} is not MPS: it has a key '{key}' beside model.* and cross_model.*")
        parts[start][name.removeprefix(start)] = value
    if not all(parts.values()):
        raise MissingWeightsError(f"{where} is not MPS: it needs keys model.* and cross_model.*; {_HOW}")
    return parts["model."], parts["cross_model."]


def _state_of(path: Path) -> dict[str, Any]:
    try:
        return read_state(path)
    except MissingWeightsError as error:
        if path.suffix == ".safetensors":
            raise
        raise MissingWeightsError(f"{error}; {_HOW}") from error


def build_cross(state: Mapping[str, Tensor], where: str) -> CrossModel:
    """The cross model whose sizes the tensors say, float32."""
    try:
        width = int(state["layers.0.0.fn.to_q.weight"].shape[1])
        head = int(state["layers.0.0.fn.to_kv.weight"].shape[0]) // 2
        grow = int(state["layers.0.0.fn.ff.2.weight"].shape[1]) // width
        layers = 1 + max(int(key.split(".")[1]) for key in state)
    except (KeyError, IndexError, ValueError) as error:
        raise MissingWeightsError(f"{where}: its cross_model has other keys than MPS's ({error})") from error
    if head < 2 or head % 2 or width % head or grow < 1:
        raise MissingWeightsError(f"{where}: a cross_model of width {width} with heads of {head} is not MPS's")
    cross = CrossModel(width, layers, head, grow)
    load_strict(cross, state, where)
    return cross.requires_grad_(False).eval()


class MPS(Metric):
    """Overall preference, exp(logit_scale) x cosine; higher is better."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True
    option_help: ClassVar[Mapping[str, str]] = {
        "threshold": "share of the prompt's largest product above which a word is kept: 0.01 (the network's forward "
        "pass) or 0.3 (the authors' script for HPDv2)"
    }

    def __init__(self, card: Card, request: Request, clip: Any, cross: CrossModel, tokenizer: Any) -> None:
        super().__init__(card, pick_device(request.device), batch_size=1)
        dtype = getattr(torch, request.dtype)
        self.clip = clip.to(device=self.device, dtype=dtype)
        self.cross = cross.to(device=self.device, dtype=dtype)
        self.tokenizer = tokenizer
        self.size = int(clip.config.vision_config.image_size)
        self.limit = int(card.settings["max_tokens"])
        self.threshold = float(card.settings["threshold"])
        self._pixels = Scale(tuple(card.settings["mean"]), tuple(card.settings["deviation"]))
        self._condition = self._words(_CONDITION.read_text(encoding="utf-8"))[0]

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a file or folder of weights; configuration and tokenizer beside it or of CLIP ViT-H/14 (LAION-2B)."""
        from transformers import CLIPConfig, CLIPModel

        pick_device(request.device)
        threshold = request.options.get("threshold", 0.01)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < 1:
            raise MetricError(f"{facts.name}: threshold = {threshold!r} must be a number from 0 to below 1")
        path = locate(request.weights or pinned(facts.weights or ""))
        path = find_file(path, ("model.safetensors", "*.safetensors", "*.pt"), facts.title) if path.is_dir() else path
        where = f"{facts.title}: '{path}'"
        first, second = split_state(_state_of(path), where)
        beside = path.parent / "config.json"
        has_clip = beside.is_file() and "vision_config" in read_json(beside, facts.title)
        wanted = ("config.json", *PREPROCESSOR_FILES, *TOKENIZER_FILES)
        base = path.parent if has_clip else locate(pinned(BASE), wanted)
        clip = CLIPModel(CLIPConfig.from_dict(read_json(base / "config.json", facts.title)))
        load_strict(clip, first, where, drop=_DROP)
        cross = build_cross(second, where)
        if cross.layers[0][0].fn.to_q.in_features != clip.config.projection_dim:  # type: ignore[index]
            raise MissingWeightsError(f"{where}: its cross_model does not fit the CLIP of '{base}'")
        text = clip.config.text_config
        tokenizer = load_tokenizer(base, int(text.vocab_size), facts.title)
        settings = {
            **image_settings(clip.config, read_scale(base, int(clip.config.vision_config.image_size), facts.title)),
            "max_tokens": min(77, int(text.max_position_embeddings)),
            "padding": "to max_tokens with the tokenizer's own; padded places are words like others",
            "longer_prompts": "cut, keeping the end token",
            "threshold": float(threshold),
            "condition": "overall, as the authors give it",
            "mask": "of each prompt alone",
            "published_keys": "unverified: checked against our reading of the authors' code",
            "score": "exp(logit_scale) x cosine",
        }
        configs = [base / "config.json", *(base / name for name in PREPROCESSOR_FILES if (base / name).is_file())]
        card = make_card(facts, request, [path, *configs, *tokenizer_files(base)], settings)
        return cls(card, request, clip.requires_grad_(False).eval(), cross, tokenizer)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]: PIL bicubic shortest side, centre crop, mean and deviation of the folder."""
        pixels = to_unit(resize_crop(image, self.size, crop=Crop.DOWN))
        return normalise(pixels, self._pixels.mean, self._pixels.deviation)

    @torch.no_grad()
    @by_its_card
    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values, float32 [N] on the CPU. MetricError without prompts."""
        frames = to_pil(images)
        if prompts is None:
            raise MetricError(f"{self.name} needs the prompts of the images")
        texts = check_prompts(prompts, len(frames))
        known = {text: self._words(text) for text in dict.fromkeys(texts)}
        values = [self._one(frame, *known[text]) for frame, text in zip(frames, texts, strict=True)]
        return torch.stack(values) if values else torch.zeros(0)

    def _words(self, text: str) -> tuple[Tensor, Tensor]:
        """All projected tokens [1, L, D] of a text, and that of its end [1, D]."""
        ids = self.tokenizer(
            [text], padding="max_length", truncation=True, max_length=self.limit, return_tensors="pt"
        ).input_ids.to(self.device)
        with torch.no_grad():
            states = self.clip.text_projection(self.clip.text_model(input_ids=ids).last_hidden_state)
        end = int((ids[0] == self.tokenizer.eos_token_id).nonzero()[0, 0])
        return states, states[:, end]

    def _one(self, frame: Image.Image, words: Tensor, end: Tensor) -> Tensor:
        inputs = self.prepare(frame)[None].to(device=self.device, dtype=words.dtype)
        tokens = self.clip.visual_projection(self.clip.vision_model(pixel_values=inputs).last_hidden_state)
        alike = (words @ self._condition.transpose(1, 2)).amax(dim=-1)  # [1, L]
        kept = alike / alike.max() > self.threshold
        seen = self.cross(tokens, words, kept)[:, 0]
        cosine = functional.cosine_similarity(seen.float(), end.float())
        value: Tensor = self.clip.logit_scale.float().exp() * cosine
        return value[0].cpu()
