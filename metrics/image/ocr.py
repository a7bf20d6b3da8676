"""OCR accuracy: does the text that a prompt asks for stand in the image?

The reward `ocr` of Flow-GRPO (Liu et al. 2025, arXiv 2505.05470): the wanted text is what stands between the first pair
of double quotes of the prompt. Spaces are removed and letters are lower case on both sides. A wanted text that the read
text contains has distance 0, any other its Levenshtein distance, at most its length; the value is 1 - distance / its
length. Flow-GRPO reads with PaddleOCR, this with the PP-OCRv6 models that the package `rapidocr` carries, so values are
near its, not equal to them. Always on the CPU, with one thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metrics.base.metric import Metric, make_card, pick_device
from metrics.errors import BadInputError, MetricError, MissingWeightsError
from metrics.images import Images, check_prompts, to_pil
from metrics.types import Card, Facts, Kind, Request

_QUOTED = re.compile(r'"([^"]*)"')
_PARAMETERS = {
    "Global.log_level": "critical",
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


def wanted_text(prompt: str) -> str:
    """The text between the first pair of double quotes, without spaces, in lower case; BadInputError without one.

    >>> wanted_text('A neon sign that says "New York" at night')
    'newyork'
    """
    found = _QUOTED.search(prompt)
    text = plain(found[1]) if found else ""
    if not text:
        raise BadInputError('the prompt has no text between double quotes ("), so there is nothing to read')
    return text


def plain(text: str) -> str:
    """Without spaces, in lower case: what is compared."""
    return text.replace(" ", "").lower()


def distance(read: str, wanted: str) -> int:
    """0 where `wanted` is in `read`, else their Levenshtein distance, at most the length of `wanted`.

    >>> distance("xopenx", "open"), distance("opne", "open"), distance("", "open"), distance("aaaaaaaaaaaa", "open")
    (0, 2, 4, 4)
    """
    if wanted in read:
        return 0
    row = np.arange(len(read) + 1)
    for letter in wanted:
        kept, row = row, row + 1
        same = np.array([one != letter for one in read], dtype=np.int64)
        row[1:] = np.minimum(row[1:], kept[:-1] + same)
        row = np.minimum.accumulate(row - np.arange(len(row))) + np.arange(len(row))  # insertions, from the left
    return min(int(row[-1]), len(wanted))


def accuracy(read: str, wanted: str) -> float:
    """1 - distance / length, in [0, 1]; both as `plain` makes them.

    >>> accuracy("newyrokskylne", "newyorkskyline")
    0.7857142857142857
    """
    return 1 - distance(read, wanted) / len(wanted)


class OCR(Metric):
    """Share of the quoted text that is read in the image, in [0, 1]; higher is better. No value without one."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True
    option_help: ClassVar[Mapping[str, str]] = {}

    def __init__(self, card: Card, reader: Any) -> None:
        super().__init__(card, torch.device("cpu"), batch_size=1)
        self.reader = reader

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """With the models of the installed `rapidocr`; MissingWeightsError without it or `onnxruntime`."""
        if request.weights is not None:
            raise MetricError(f"{facts.name} reads with the models of the package rapidocr: omit weights")
        if request.dtype != "float32":
            raise MetricError(f"{facts.name} runs in float32 alone: omit dtype")
        pick_device(request.device)  # a name that is unknown, though the reader runs on the CPU
        try:
            import onnxruntime  # noqa: F401
            import rapidocr
        except ImportError as error:
            raise MissingWeightsError(
                f"metric '{facts.name}' needs the package {error.name}: pip install 'imagerefl-bench[ocr]'"
            ) from error
        models = sorted((Path(rapidocr.__file__).parent / "models").glob("*.onnx"))
        if len(models) != 3:
            raise MissingWeightsError(
                f"metric '{facts.name}': rapidocr carries {len(models)} of its 3 models: "
                "pip install --force-reinstall rapidocr"
            )
        reader = rapidocr.RapidOCR(params=_PARAMETERS)
        settings = {
            "wanted": "between the first pair of double quotes",
            "compared": "without spaces, lower case; Levenshtein, 0 where contained, at most the length",
            "resize": "rapidocr's own, longest side at most 2000",
            "text_score": float(reader.text_score),
            "runs_on": "cpu, one thread",
        }
        return cls(make_card(facts, request, models, settings, source="the package rapidocr"), reader)

    def read(self, image: Image.Image) -> str:
        """All texts of an RGB image, joined in the order in which they are found."""
        return "".join(self.reader(image).txts or ())

    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Accuracies, float32 [N]. MetricError without prompts; BadInputError for a prompt without quoted text."""
        frames = to_pil(images)
        if prompts is None:
            raise MetricError(f"{self.name} needs the prompts of the images")
        wanted = [wanted_text(prompt) for prompt in check_prompts(prompts, len(frames))]
        values = [accuracy(plain(self.read(frame)), text) for frame, text in zip(frames, wanted, strict=True)]
        return torch.tensor(values, dtype=torch.float32)
