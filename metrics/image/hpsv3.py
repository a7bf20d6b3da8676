"""HPSv3 (Ma et al. 2025, arXiv 2508.03789): Qwen2-VL-7B reads picture, prompt and instruction; a head gives a Gaussian.

The value is the Gaussian's mean mu, without bounds; `distribution` gives sigma too. One image at a time: the original
pads batches on the right, which changes nothing but the last bits. Never with a gradient. Equal to the original's own
classes on a small model of the published form (tests/data/hpsv3, wheel `hpsv3` 1.0.0 on transformers 4.45.2). The text
of the instruction (hpsv3_instruction.txt) is the model's input and comes from that wheel (MIT licence).

Not verified, since no hub was at hand: the key list of the published file, and the base model's chat template, which is
Qwen2-VL's as it is known and is written into the card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.metric import Metric, make_card, pick_device
from metrics.errors import BadInputError, MetricError, MissingWeightsError, first_line
from metrics.images import Images, check_prompts, to_pil
from metrics.networks.hf_folder import quiet
from metrics.networks.qwen2_vl import RewardVLM, build
from metrics.types import Card, Facts, Kind, Request, one_of
from metrics.weights.hub import locate
from metrics.weights.pins import pinned
from metrics.weights.state_dict import find_file

BASE = "Qwen/Qwen2-VL-7B-Instruct"
REWARD = "<|Reward|>"
PIXELS = 256 * 28 * 28
FACTOR = 28
MOST_ELONGATED = 200
DTYPES = ("file", "float32", "bfloat16")
_INSTRUCTION = Path(__file__).with_name("hpsv3_instruction.txt")
_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
_IMAGE = "<|image_pad|>"
_AFTER = "<|im_end|>\n<|im_start|>assistant\n"
_BASE_FILES = ("config.json", "preprocessor_config.json", "tokenizer*.json", "vocab.json", "merges.txt")


def target_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) after the resize: multiples of 28, at most or at least 200,704 pixels, nearly the same shape.

    BadInputError for an image more than 200 times as long as wide, which the original refuses as well.

    >>> target_size(64, 64), target_size(120, 40)
    ((448, 448), (784, 280))
    """
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise BadInputError(
            f"an image of {width} x {height} pixels is more than {MOST_ELONGATED} times as long as wide: crop it"
        )
    rows, columns = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (height, width))
    if rows * columns > PIXELS:
        shrink = math.sqrt(height * width / PIXELS)
        rows, columns = (math.floor(side / shrink / FACTOR) * FACTOR for side in (height, width))
    elif rows * columns < PIXELS:
        grow = math.sqrt(PIXELS / (height * width))
        rows, columns = (math.ceil(side * grow / FACTOR) * FACTOR for side in (height, width))
    return columns, rows


class HPSv3(Metric):
    """The mean of the reward's Gaussian; higher is better, good images of today lie near 10."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True
    option_help: ClassVar[Mapping[str, str]] = {
        "backbone_dtype": one_of(DTYPES) + ": the published file's is bfloat16; the head is float32 in all cases",
    }

    def __init__(self, card: Card, device: torch.device, network: RewardVLM, tokenizer: Any, processor: Any) -> None:
        super().__init__(card, device, batch_size=1)
        self.network = network.to(device)
        self.tokenizer = tokenizer
        self.processor = processor
        self._reward = int(tokenizer.convert_tokens_to_ids(REWARD))
        self._instruction = _INSTRUCTION.read_bytes().decode("utf-8")

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From the published file; configuration, tokenizer and preprocessor beside it or of the base model."""
        device = pick_device(request.device)
        wanted = request.options.get("backbone_dtype", "file")
        if wanted not in DTYPES:
            raise MetricError(f"hpsv3: backbone_dtype {wanted!r} is not one of {', '.join(DTYPES)}")
        if request.dtype != "float32":
            raise MetricError("hpsv3: its precision is chosen by the option backbone_dtype: omit dtype")
        path = locate(request.weights or pinned(facts.weights or ""))
        path = find_file(path, ("HPSv3.safetensors", "*.safetensors"), facts.title) if path.is_dir() else path
        beside = path.parent / "config.json"
        base = path.parent if beside.is_file() else locate(pinned(BASE), _BASE_FILES)
        where = f"{facts.title}: '{path}'"
        dtype = None if wanted == "file" else getattr(torch, str(wanted))
        network = build(path, base / "config.json", dtype, where)
        tokenizer, processor = _text_and_pictures(base, network, where)
        settings = {
            "resize": "PIL bicubic, to multiples of 28 with about 200,704 pixels",
            "antialias": True,
            "crop": "none",
            "image_size": "native",
            "mean": list(processor.image_mean),
            "deviation": list(processor.image_std),
            "colour": "RGB before the resize",
            "instruction": "hpsv3 1.0.0, with its rating sentence and <|Reward|>",
            "chat_template": "Qwen2-VL's with its default system message (unverified)",
            "positions": "0, 1, 2, ... on all three axes, as the original's forward pass has them",
            "attention": "sdpa (the original: FlashAttention 2 where it is installed)",
            "batch": 1,
            "backbone_dtype": str(network.backbone.dtype).removeprefix("torch."),
            "published_keys": "unverified: those of transformers 4.45",
        }
        found = [item for pattern in _BASE_FILES for item in sorted(base.glob(pattern))]
        return cls(make_card(facts, request, [path, *found], settings), device, network, tokenizer, processor)

    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values mu, float32 [N]. MetricError without prompts, BadInputError for a prompt with a control token."""
        return self.distribution(images, prompts)[:, 0]

    def distribution(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """(mu, sigma) of each image, float32 [N, 2], as the head gives them: sigma is not squashed."""
        frames = to_pil(images)
        if prompts is None:
            raise MetricError("hpsv3 needs the prompts of the images")
        texts = check_prompts(prompts, len(frames))
        rows = [self._one(frame, text) for frame, text in zip(frames, texts, strict=True)]
        return torch.stack(rows) if rows else torch.zeros(0, 2)

    def prepare(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """RGB image -> patches [P, C] and their grid [1, 3]."""
        resized = image.resize(target_size(*image.size), Image.Resampling.BICUBIC)
        made = self.processor(images=[resized], return_tensors="pt")
        return made["pixel_values"], made["image_grid_thw"]

    def tokens(self, prompt: str, count: int) -> Tensor:
        """Token ids [1, L] of a prompt behind `count` image tokens."""
        text = self._instruction.replace("{text_prompt}", prompt)
        whole = f"{_SYSTEM}{_IMAGE * count}<|vision_end|>{text}{_AFTER}"
        ids: Tensor = self.tokenizer([whole], return_tensors="pt", verbose=False).input_ids
        rewards, pads = int((ids == self._reward).sum()), int((ids == self.network.image_token).sum())
        if rewards != 1 or pads != count:
            raise BadInputError(f"the prompt holds {REWARD} or {_IMAGE}, which HPSv3 reads as its own: remove it")
        return ids

    @torch.no_grad()
    def _one(self, frame: Image.Image, prompt: str) -> Tensor:
        pixels, grid = self.prepare(frame)
        ids = self.tokens(prompt, int(grid.prod()) // self.network.merge**2)
        place = int((ids[0] == self._reward).nonzero()[0, 0])
        said = self.network.read(ids.to(self.device), pixels.to(self.device), grid.to(self.device), place)
        return said.float().cpu()


def _text_and_pictures(base: Path, network: RewardVLM, where: str) -> tuple[Any, Any]:
    """The tokenizer with the reward token at its end, and the image processor, of the base model's folder."""
    from transformers import AutoTokenizer, Qwen2VLImageProcessor

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
            processor = Qwen2VLImageProcessor.from_pretrained(str(base), local_files_only=True)
    except Exception as error:  # files absent or damaged
        reason = first_line(error)
        raise MissingWeightsError(
            f"{where}: the tokenizer or preprocessor in '{base}' cannot be read ({type(error).__name__}: {reason})"
        ) from error
    tokenizer.add_tokens([REWARD], special_tokens=True)
    if len(tokenizer) != network.tokens:
        raise MissingWeightsError(
            f"{where}: the tokenizer in '{base}' has {len(tokenizer)} tokens with {REWARD}, the weights "
            f"{network.tokens} rows: they do not belong together"
        )
    return tokenizer, processor
