"""How many of the listed answers to a question the images of a prompt show, as a judge sees them.

"What breed is the dog?" with five breeds: five golden retrievers are entropy 0, whatever their poses. The question is a
multiple choice with a last answer "none of these"; an image counts for the answer whose letter is likeliest. In the
manner of GRADE (Rassin et al. 2024, arXiv 2410.22592), which lets language models find questions and answers, and of
DIM-CIM (Teotia et al. 2025, ICCV); here the suite lists both, so that values are not those of either.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, ClassVar

from PIL import Image

from metrics.base.kinds import TOO_FEW
from metrics.base.precision import by_its_card
from metrics.errors import BadInputError, MetricError
from metrics.images import Images, to_pil
from metrics.judge.answers import LEAST, letter_spellings
from metrics.judge.metric import OPTION_HELP, JudgedMetric
from metrics.types import Facts, Kind, Request, one_of

NONE = "none of these"
VALUES = ("entropy", "share")
MOST = len(ascii_uppercase) - 1


class AttributeCoverage(JudgedMetric):
    """Of the K images of a prompt: the entropy of their answers over log(number of answers), or the share of answers.

    Both in 0..1, higher is more diverse. With K images at most K answers are reached: compare values of equal K. A
    prompt has no value where an image shows none of the answers.
    """

    kind = Kind.GROUP
    undefined_reason = TOO_FEW
    option_help: ClassVar[Mapping[str, str]] = {**OPTION_HELP, "value": one_of(VALUES)}

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """The question, its answers in their order, and which value is made of the counts."""
        answers = checked_answers(facts.name, request.options["answers"])
        value = request.options["value"]
        if value not in VALUES:
            raise MetricError(f"{facts.name}: value {value!r} is not one of {', '.join(VALUES)}")
        return {
            "question": str(request.options["question"]),
            "answers": answers,
            "value": value,
            "choice": f"the likeliest letter, '{NONE}' last; the letters together at least {LEAST:g}",
        }

    def question(self, prompt: str) -> str:
        """The multiple choice, as the judge reads it."""
        answers = [*self.card.settings["answers"], NONE]
        lines = [f"{letter}. {answer}" for letter, answer in zip(ascii_uppercase, answers, strict=False)]
        asked = str(self.card.settings["question"]).replace("{prompt}", prompt)
        return "\n".join([asked, *lines, "Answer with the letter alone."])

    def answer(self, image: Image.Image, prompt: str) -> str:
        """The answer that an RGB image shows, or "none of these". BadInputError where the judge names no letter."""
        answers = [*self.card.settings["answers"], NONE]
        choices = tuple(letter_spellings(letter) for letter in ascii_uppercase[: len(answers)])
        shares = self.judge.probabilities(image, self.question(prompt), choices)
        if math.fsum(shares) < LEAST:
            raise BadInputError("the judge chose none of the letters: all have less than half of the probability")
        return str(answers[shares.index(max(shares))])

    @by_its_card
    def score(self, images: Images, prompt: str | None = None) -> float:
        """The value of the images of one prompt; NaN for fewer than two. BadInputError says why there is none."""
        if prompt is None and "{prompt}" in str(self.card.settings["question"]):
            raise MetricError(f"{self.name} needs the prompt of the images, of which its question speaks")
        found = self.judge.map(lambda frame: self.answer(frame, prompt or ""), to_pil(images))
        if outside := found.count(NONE):
            raise BadInputError(f"{outside} of its {len(found)} images show none of the listed answers")
        if len(found) < 2:
            return float("nan")
        of = len(self.card.settings["answers"])
        return len(set(found)) / of if self.card.settings["value"] == "share" else normalised_entropy(found, of)

    def why_undefined(self, n: int) -> str | None:
        """Too few images, where that is why."""
        return TOO_FEW if n < 2 else None


def normalised_entropy(answers: Sequence[str], of: int) -> float:
    """Entropy of the answers that were given, over that of `of` answers given equally often.

    >>> normalised_entropy(["poodle"] * 4, 4), normalised_entropy(["poodle", "boxer"], 4)
    (0.0, 0.5)
    """
    shares = [count / len(answers) for count in Counter(answers).values()]
    return abs(math.fsum(-share * math.log(share) for share in shares)) / math.log(of)


def checked_answers(name: str, answers: object) -> list[str]:
    """The listed answers. MetricError for too few or too many, an empty one, or one that is listed twice."""
    if not isinstance(answers, (list, tuple)) or not all(isinstance(one, str) and one.strip() for one in answers):
        raise MetricError(f"{name}: answers must be a list of strings, none of them empty")
    plain = [one.strip() for one in answers]
    if not 2 <= len(plain) <= MOST:
        raise MetricError(f"{name}: answers must be 2 to {MOST} strings, and there are {len(plain)}")
    known = {one.casefold() for one in plain}
    if len(known) < len(plain) or NONE in known:
        raise MetricError(f"{name}: answers must differ from one another and from '{NONE}', which is asked besides")
    return plain
