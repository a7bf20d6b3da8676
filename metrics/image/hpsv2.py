"""HPSv2 and HPSv2.1: one open_clip network (ViT-H-14), two sets of weights; score = cosine (not x 100).

Wu et al. 2023, arXiv 2306.09341. The official preprocessing resizes the float tensor without naming `antialias`,
whose default changed in torchvision 0.17; the option `antialias` (default False, as published) says which one.
The official code runs under CUDA's autocast, which does nothing on a CPU: the option `autocast` (default False: float32
everywhere) computes in float16 where autocast does, and rounds features and score to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.kinds import ImageMetric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD, normalise, resize_pad_tensor, to_unit
from metrics.types import Card, Facts, Request
from metrics.weights.hub import locate
from metrics.weights.pins import pinned
from metrics.weights.state_dict import WEIGHT_SUFFIXES, find_file, load_strict, read_json, read_state

_VIT_H_14 = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}
_VOCABULARY = "bpe_simple_vocab.txt.gz"
_CONFIG = "open_clip_config.json"


def _find_weights(path: Path, version: str, what: str) -> Path:
    other = "2.1" if version == "2.0" else "2.0"
    if path.is_file():
        if f"v{other}" in path.name:
            raise MissingWeightsError(
                f"{what}: '{path}' contains the weights of version {other}, and the scores of the two versions are not "
                f"comparable: use the metric {'hpsv2.1' if other == '2.1' else 'hpsv2'} for it"
            )
        return path
    named = [f"*v{version}*{suffix}" for suffix in WEIGHT_SUFFIXES]
    if version == "2.0":
        named += [f"HPS_v2_*{suffix}" for suffix in WEIGHT_SUFFIXES]
    return find_file(path, named, what)


def model_config(folder: Path, what: str) -> dict[str, Any]:
    """open_clip's model_cfg beside the weights, or ViT-H-14's."""
    if not (folder / _CONFIG).is_file():
        return _VIT_H_14
    config = read_json(folder / _CONFIG, what).get("model_cfg")
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        raise MissingWeightsError(
            f"{what}: '{folder / _CONFIG}' needs a table model_cfg with embed_dim, vision_cfg and text_cfg"
        )
    return config


def build_network(config: dict[str, Any], state: dict[str, Tensor], where: str) -> Any:
    """An open_clip CLIP of `config` with the weights of `state` in float32, frozen."""
    import open_clip

    if state["visual.conv1.weight"].shape[0] != config["vision_cfg"]["width"]:
        raise MissingWeightsError(
            f"{where}: a vision width of {state['visual.conv1.weight'].shape[0]} is not the configured "
            f"{config['vision_cfg']['width']}: put the {_CONFIG} of these weights beside them"
        )
    try:
        with torch.device("meta"):
            network: Any = open_clip.CLIP(**config)
    except (TypeError, ValueError, AssertionError) as error:
        raise MissingWeightsError(f"{where}: {_CONFIG} does not describe an open_clip CLIP ({error})") from error
    load_strict(network, state, where)
    length = network.context_length
    # not in the checkpoint, so still on the meta device: the causal mask
    network.attn_mask = torch.full((length, length), float("-inf")).triu_(1)
    return network


def _settings(size: int, length: int) -> dict[str, Any]:
    return {
        "resize": "torch bicubic on floats, longest side, not clamped",
        "crop": "none: centred, padded with zeros before normalisation",
        "image_size": size,
        "mean": list(CLIP_MEAN),
        "deviation": list(CLIP_STD),
        "colour": "RGB before the resize",
        "tokenizer": "open_clip SimpleTokenizer",
        "max_tokens": length,
        "longer_prompts": "cut, keeping the end token",
        "text_pooling": "first end-of-text token",
    }


class HPSv2(ImageMetric):
    """Cosine of image and text features of the HPSv2 (or v2.1) network."""

    option_help: ClassVar[Mapping[str, str]] = {
        "antialias": "of the float resize: off as published with torchvision up to 0.16, on as the same code does "
        "since 0.17",
        "autocast": "on: float16 as the original under CUDA's autocast; off: float32, as the original on a CPU",
    }

    def __init__(self, card: Card, request: Request, network: Any, tokenizer: Any) -> None:
        super().__init__(card, pick_device(request.device))
        self.dtype: torch.dtype = getattr(torch, request.dtype)
        self.network = network.to(device=self.device, dtype=self.dtype)
        self.tokenizer = tokenizer
        self.size = int(card.settings["image_size"])
        self.antialias = bool(card.settings["antialias"])
        self.autocast = bool(card.settings["autocast"])
        self.token_limit = int(card.settings["max_tokens"])

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From an open_clip state dict; open_clip_config.json and bpe_simple_vocab.txt.gz beside it describe others
        than ViT-H-14."""
        from open_clip.tokenizer import SimpleTokenizer

        pick_device(request.device)
        path = _find_weights(locate(request.weights or pinned(facts.weights or "")), facts.version, facts.title)
        where, folder = f"{facts.title}: '{path}'", path.parent
        config, state = model_config(folder, facts.title), read_state(path)
        if "visual.conv1.weight" not in state:
            raise MissingWeightsError(f"{where} is not an open_clip state dict (key 'visual.conv1.weight' is missing)")
        network = build_network(config, state, where)
        vocabulary = folder / _VOCABULARY
        length = int(config["text_cfg"]["context_length"])
        try:
            bpe = {"bpe_path": str(vocabulary)} if vocabulary.is_file() else {}
            tokenizer = SimpleTokenizer(context_length=length, **bpe)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise MissingWeightsError(f"{facts.title}: '{vocabulary}' cannot be read ({error})") from error
        if tokenizer.vocab_size != config["text_cfg"]["vocab_size"]:
            raise MissingWeightsError(
                f"{where} has {config['text_cfg']['vocab_size']} tokens, the tokenizer {tokenizer.vocab_size}: put the "
                f"{_VOCABULARY} of these weights beside them"
            )
        antialias = bool(request.options.get("antialias", False))
        size = int(config["vision_cfg"]["image_size"])
        autocast = bool(request.options.get("autocast", False))
        if autocast and request.dtype != "float32":
            raise MetricError(f"{facts.name}: autocast=True chooses the precision itself: leave dtype='float32'")
        settings = _settings(size, length) | {"antialias": antialias, "autocast": autocast}
        extra = [item for item in (folder / _CONFIG, vocabulary) if item.is_file()]
        return cls(make_card(facts, request, [path, *extra], settings), request, network, tokenizer)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S]: float bicubic (longest side), zero padding, CLIP mean and deviation."""
        return self.prepare_pixels(to_unit(image)[None])[0]

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, 3, S, S], differentiable; the same computation as for `score`."""
        return normalise(resize_pad_tensor(pixels, self.size, self.antialias), CLIP_MEAN, CLIP_STD)

    def encode_images(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised image features [B, D]."""
        with self._precision():
            features = self.network.encode_image(inputs.to(self.dtype))
        return functional.normalize(features.float(), dim=-1)

    def token_lengths(self, prompts: list[str]) -> list[int]:
        """The tokens of each prompt, the two ends included."""
        return [len(self.tokenizer.encode(prompt)) + 2 for prompt in prompts]

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Prompts -> (L2-normalised text features [P, D],); longer prompts are cut, keeping the end token."""
        tokens = self.tokenizer(prompts)
        with self._precision():
            features = self.network.encode_text(tokens.to(self.device))
        return (functional.normalize(features.float(), dim=-1),)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.float16, enabled=self.autocast)

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Cosine of each row; with `autocast` of features in float16, rounded to float16."""
        if not self.autocast:
            return (features * texts[0]).sum(dim=-1)
        # a float16 product on CUDA sums in float32
        return (features.half().float() * texts[0].half().float()).sum(dim=-1).half().float()
