"""VQAScore (Lin et al. 2024, arXiv 2404.01291): the probability that a model says the image shows the prompt.

The question and the judge are those of GenEval 2 (Kamath et al. 2025, arXiv 2512.16853). The answer's probability is
the sum over the first tokens of Yes, yes and both behind a space; values of other judges are not comparable.
"""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image

from metrics.errors import BadInputError
from metrics.judge.answers import LEAST, NO, YES
from metrics.judge.metric import JudgedImageMetric
from metrics.types import Facts, Request

QUESTION = 'Does this image show "{}"? Answer the question with Yes or No.'
ASKED = "{question} Answer the question with Yes or No."
"""How a question of the user's own is put."""


class VQAScore(JudgedImageMetric):
    """p(Yes), in 0..1; higher is better."""

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """The question, and what counts as its answer."""
        return {"question": QUESTION, "answer": list(YES)}

    def value(self, image: Image.Image, prompt: str) -> float:
        """p(Yes) that the image shows the prompt."""
        return self.judge.probabilities(image, QUESTION.replace("{}", prompt), (YES,))[0]


class OwnQuestion(JudgedImageMetric):
    """p(Yes) of a question that a suite asks of every image; "{prompt}" in it stands for the image's prompt."""

    uses_prompts: ClassVar[bool] = False

    @property
    def needs_prompts(self) -> bool:
        """Whether the question speaks of the prompt."""
        return "{prompt}" in str(self.card.settings["question"])

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """The question as it is put, and what counts as its answer."""
        asked = ASKED.replace("{question}", str(request.options["question"]))
        return {"question": asked, "answer": list(YES), "least": f"p(Yes) + p(No) at least {LEAST:g}"}

    def value(self, image: Image.Image, prompt: str) -> float:
        """p(Yes). BadInputError where the judge answers with neither Yes nor No."""
        question = str(self.card.settings["question"]).replace("{prompt}", prompt)
        yes, no = self.judge.probabilities(image, question, (YES, NO))
        if yes + no < LEAST:
            raise BadInputError("the judge answered neither Yes nor No: both have less than half of the probability")
        return yes
