"""What all metrics of a judge share: they are loaded with it, and score image by image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.metric import Metric, make_card, pick_device
from metrics.base.precision import by_its_card
from metrics.errors import MetricError
from metrics.images import Images, check_prompts, to_pil
from metrics.judge.judge import Judge
from metrics.judge.opened import DTYPES, open_judge
from metrics.types import Card, Facts, Kind, Request, one_of

OPTION_HELP: Mapping[str, str] = {
    "backbone_dtype": one_of(DTYPES) + ": the published files' is bfloat16",
    "url": "of a judge behind an OpenAI-compatible chat API, such as `http://127.0.0.1:8000/v1`, in place of weights",
    "model": "of `url`: the name that the server serves the judge under",
    "api_key_env": "of `url`: the environment variable with its API key",
}


class JudgedMetric(Metric):
    """A metric whose values are a judge's answers."""

    option_help: ClassVar[Mapping[str, str]] = OPTION_HELP
    needs_probabilities: ClassVar[bool] = True

    def __init__(self, card: Card, device: torch.device, judge: Judge) -> None:
        super().__init__(card, device, batch_size=1)
        self.judge = judge

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """With the judge of its weights, which is loaded once for all metrics of the process that name it."""
        own = cls.settings(facts, request)
        judge = open_judge(facts, request)
        if cls.needs_probabilities:
            judge.check_probabilities()
        card = make_card(facts, request, judge.files, {**judge.settings, **own}, source=judge.source)
        if judge.source is not None and card.label is None:
            card = replace(card, label=request.label or "served")
        return cls(card, pick_device(request.device), judge)

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """What decides the values beyond the judge. MetricError for options that make no sense."""
        return {}


class JudgedImageMetric(JudgedMetric):
    """One value an image."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True

    @property
    def needs_prompts(self) -> bool:
        """Whether there is no value without the prompt."""
        return self.uses_prompts

    @abstractmethod
    def value(self, image: Image.Image, prompt: str) -> float:
        """The value of an RGB image. BadInputError says why there is none."""

    @by_its_card
    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values, float32 [N]. MetricError without prompts; BadInputError for what has no value."""
        frames = to_pil(images)
        if prompts is None and self.needs_prompts:
            raise MetricError(f"{self.name} needs the prompts of the images")
        texts = check_prompts([""] * len(frames) if prompts is None else prompts, len(frames))
        pairs = list(zip(frames, texts, strict=True))
        return torch.tensor(self.judge.map(lambda pair: self.value(*pair), pairs), dtype=torch.float32)
