"""Qwen3-VL on this machine as a judge: one image and one question a call, so that no batch changes a value.

The folder's own chat template and image processor are used, as the authors of GenEval 2 and UnifiedReward do. An image
goes through the vision tower once, whatever number of questions is asked about it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from metrics.errors import BadInputError, MissingWeightsError, first_line
from metrics.judge.answers import first_tokens
from metrics.judge.judge import Choices, Judge
from metrics.networks.hf_folder import load_folder, quiet
from metrics.weights.state_dict import read_json

IMAGE = "<|image_pad|>"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_MOST_FEATURES = 256 << 20
"""Bytes of image features that are kept for further questions."""


class LocalJudge(Judge):
    """A folder of Qwen3-VL, loaded; frozen, in eval mode, never with a gradient."""

    def __init__(self, model: Any, tools: Tools, files: Mapping[str, Path], device: torch.device) -> None:
        from transformers import GenerationConfig

        processor = tools.processor
        settings = {
            "resize": f"torchvision bicubic on bytes, to multiples of {tools.multiple}, {tools.low:,} to "
            f"{tools.high:,} pixels",
            "antialias": True,
            "crop": "none",
            "image_size": "native",
            "mean": [float(one) for one in processor.image_mean],
            "deviation": [float(one) for one in processor.image_std],
            "colour": "RGB",
            "chat_template": "the folder's own",
            "message": "the image, then the text",
            "probability": "sum of the softmax over the distinct first tokens of an answer's spellings",
            "attention": "sdpa",
            "batch": 1,
            "backbone_dtype": str(model.dtype).removeprefix("torch."),
        }
        super().__init__(settings, files)
        self.model = model.to(device)
        self.model.generation_config = GenerationConfig()  # the folder's samples: what is decoded here is greedy
        self.device = device
        self.tools = tools
        self._features: OrderedDict[str, tuple[Any, Tensor]] = OrderedDict()

    @torch.no_grad()
    def logits(self, key: str, image: Image.Image, question: str) -> Tensor:
        """Logits of the first token of the answer, float32 [vocabulary]; `key` names the image."""
        features, grid = self._encoded(key, image)
        ids, kinds = self._tokens(question, grid)
        made = self.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=kinds,
            image_grid_thw=grid.to(self.device),
            mm_encoder_outputs={"image": features},
            logits_to_keep=1,
            use_cache=False,
        )
        found: Tensor = made.logits[0, -1].float()
        return found

    def _probabilities(self, key: str, image: Image.Image, question: str, choices: Choices) -> tuple[float, ...]:
        tokens = [self.tools.first_tokens(spellings) for spellings in choices]
        shares = self.logits(key, image, question).softmax(-1).double().cpu()
        return tuple(min(1.0, float(shares[list(ids)].sum())) for ids in tokens)

    @torch.no_grad()
    def _text(self, image: Image.Image, question: str, most_tokens: int) -> str:
        from transformers import GenerationConfig

        pixels, grid = self.tools.prepare(image)
        ids, kinds = self._tokens(question, grid)
        how = GenerationConfig(
            do_sample=False,
            max_new_tokens=most_tokens,
            eos_token_id=list(self.tools.ends),
            pad_token_id=self.tools.ends[0],
        )
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=kinds,
            pixel_values=pixels.to(self.device),
            image_grid_thw=grid.to(self.device),
            generation_config=how,
        )
        return str(self.tools.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))

    def _encoded(self, key: str, image: Image.Image) -> tuple[Any, Tensor]:
        """What the vision tower makes of an image, and its grid [1, 3]; kept for the next question."""
        if key in self._features:
            self._features.move_to_end(key)
            return self._features[key]
        pixels, grid = self.tools.prepare(image)
        made = self.model.model.get_image_features(pixels.to(self.device), grid.to(self.device), return_dict=True)
        self._features[key] = made, grid
        while len(self._features) > 1 and sum(_bytes(one) for one, _ in self._features.values()) > _MOST_FEATURES:
            self._features.popitem(last=False)
        return made, grid

    def _tokens(self, question: str, grid: Tensor) -> tuple[Tensor, Tensor]:
        count = int(grid.prod()) // self.tools.merge**2
        ids = self.tools.tokens(question, count).to(self.device)
        return ids, (ids == self.tools.image_token).int()


class Tools:
    """Tokenizer, chat template and image processor of a folder."""

    def __init__(self, folder: Path, config: Any, where: str) -> None:
        from transformers import AutoTokenizer, Qwen2VLImageProcessor

        try:
            with quiet():
                self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
                self.processor: Any = Qwen2VLImageProcessor.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # files absent or damaged
            reason = first_line(error)
            raise MissingWeightsError(
                f"{where}: its tokenizer or preprocessor cannot be read ({type(error).__name__}: {reason})"
            ) from error
        self.template = _template(folder, self.tokenizer, where)
        self.merge = int(self.processor.merge_size)
        self.multiple = int(self.processor.patch_size) * self.merge
        size = self.processor.size
        self.low, self.high = int(size["shortest_edge"]), int(size["longest_edge"])
        self.image_token = int(config.image_token_id)
        vision = config.vision_config
        if (self.processor.patch_size, self.merge) != (vision.patch_size, vision.spatial_merge_size):
            raise MissingWeightsError(
                f"{where}: preprocessor_config.json has patches of {self.processor.patch_size} pixels merged by "
                f"{self.merge}, config.json {vision.patch_size} by {vision.spatial_merge_size}: they do not belong "
                "together"
            )
        if int(self.tokenizer.convert_tokens_to_ids(IMAGE)) != self.image_token:
            raise MissingWeightsError(f"{where}: its tokenizer has no {IMAGE} of id {self.image_token}")
        added = self.tokenizer.added_tokens_decoder
        self._controls = tuple(str(token.content) for token in added.values() if token.special)
        self._special = frozenset(int(number) for number, token in added.items() if token.special)
        self.ends = _ends(folder, self.tokenizer, where)

    def prepare(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """RGB image -> patches [P, C] and their grid [1, 3]. BadInputError for one that is far too long."""
        try:
            made = self.processor(images=[image], return_tensors="pt")
        except ValueError as error:  # the processor's limit on the ratio of sides
            reason = first_line(error)
            raise BadInputError(f"an image of {image.width} x {image.height} pixels is refused: {reason}") from error
        return made["pixel_values"], made["image_grid_thw"]

    def tokens(self, question: str, count: int) -> Tensor:
        """Token ids [1, L] of a question behind an image of `count` tokens, up to where the answer begins."""
        for control in self._controls:
            if control in question:
                raise BadInputError(f"the prompt or question holds {control}, a control token of the judge: remove it")
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        whole = self.tokenizer.apply_chat_template(
            [message], chat_template=self.template, tokenize=False, add_generation_prompt=True
        )
        if whole.count(IMAGE) != 1:
            raise MissingWeightsError(f"the judge's chat template does not place an image once as {IMAGE}")
        whole = whole.replace(IMAGE, IMAGE * count)
        ids: Tensor = self.tokenizer([whole], return_tensors="pt", verbose=False, add_special_tokens=False).input_ids
        return ids

    def first_tokens(self, spellings: tuple[str, ...]) -> tuple[int, ...]:
        """The tokens that an answer may begin with. BadInputError where there is none."""
        found = first_tokens(spellings, self.tokenizer, self._special)
        if not found:
            raise BadInputError(f"the judge's tokenizer has no token for the answer '{spellings[0]}'")
        return found


def open_folder(folder: Path, files: Mapping[str, Path], dtype: str, device: torch.device, what: str) -> LocalJudge:
    """A folder as a judge. `dtype`: "file" (that of the weights), "float32" or "bfloat16"."""
    from transformers import Qwen3VLForConditionalGeneration

    where = f"{what}: '{folder}'"
    kind = read_json(folder / "config.json", where).get("model_type")
    if kind != "qwen3_vl":
        raise MissingWeightsError(f"{where} is a model of type '{kind}', and the judge here is a qwen3_vl")
    chosen = "auto" if dtype == "file" else getattr(torch, dtype)
    model = load_folder(Qwen3VLForConditionalGeneration, folder, what, dtype=chosen)
    return LocalJudge(model, Tools(folder, model.config, where), files, device)


def _template(folder: Path, tokenizer: Any, where: str) -> str:
    """The chat template: a file of the folder, as the processor reads it, else the tokenizer's."""
    for name in _TEMPLATES:
        path = folder / name
        if path.is_file():
            found = read_json(path, where).get("chat_template") if path.suffix == ".json" else path.read_text("utf-8")
            if isinstance(found, str) and found:
                return found
    if not isinstance(tokenizer.chat_template, str):
        raise MissingWeightsError(f"{where} has no chat template: one of {', '.join(_TEMPLATES)} belongs there")
    return tokenizer.chat_template


def _ends(folder: Path, tokenizer: Any, where: str) -> tuple[int, ...]:
    """The tokens that end an answer: those of generation_config.json, else the tokenizer's."""
    path = folder / "generation_config.json"
    named = read_json(path, where).get("eos_token_id") if path.is_file() else None
    found = named if isinstance(named, list) else [tokenizer.eos_token_id if named is None else named]
    return tuple(int(one) for one in found if one is not None)


def _bytes(features: Any) -> int:
    tensors = [*features.pooler_output, *(one for layer in features.deepstack_features for one in layer)]
    return sum(one.numel() * one.element_size() for one in tensors)
