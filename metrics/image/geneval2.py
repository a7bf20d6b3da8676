"""GenEval 2's Soft-TIFA (Kamath et al. 2025, arXiv 2512.16853): a judge answers the questions of each prompt.

Each question is put as "... Answer in one word."; its value is the probability of the expected answer, summed over the
first tokens of its spellings. `geneval2` is the arithmetic mean over the questions of a prompt (AM), `geneval2_gm` the
geometric mean (GM), and `geneval2_count` and the like the arithmetic mean over the questions of one skill. The
questions come with the prompts, from `geneval2_data.jsonl`: only its prompts have values.

Differences from the authors' program, both said on the card: a token that two spellings begin with counts once, and a
skill's value is the mean of its images' means, where the program's analysis pools the questions of all images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from metrics.errors import BadInputError, MetricError
from metrics.image.questions import one_spaced, questions_file, read_prompts
from metrics.judge.answers import YES, number_spellings
from metrics.judge.metric import OPTION_HELP, JudgedImageMetric
from metrics.types import Facts, Request
from metrics.weights.state_dict import sha256

SKILLS = ("object", "attribute", "count", "position", "verb")
ASKED = "{} Answer in one word."


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a prompt, the spellings of the answer that is expected, and the skill that it is about."""

    question: str
    spellings: tuple[str, ...]
    skill: str


class GenEval2(JudgedImageMetric):
    """Mean probability of the expected answers, in 0..1; higher is better. Which mean, the metric's name says."""

    option_help: ClassVar[Mapping[str, str]] = {
        **OPTION_HELP,
        "questions": "a file in the form of geneval2_data.jsonl; without it a suite takes that of its prompt set",
    }

    @classmethod
    def settings(cls, facts: Facts, request: Request) -> dict[str, Any]:
        """The digest of the questions, how they are put, and the mean."""
        path = _file(request.options.get("questions"))
        mean = "geometric" if facts.name.endswith("_gm") else "arithmetic"
        skill = _skill(facts.name)
        return {
            "questions": sha256(path),
            "question": ASKED,
            "answer": "Yes; of 'How many' the number in words or digits; shared first tokens counted once",
            "mean_of_questions": mean,
            "skill": skill or "all",
            **({"set_mean": "of images, not of all questions pooled"} if skill else {}),
            "checked": "against our reading of the authors' program",
        }

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._questions: Mapping[str, Sequence[Asked]] = {}

    @classmethod
    def load(cls, facts: Facts, request: Request) -> GenEval2:
        """With its questions. MissingWeightsError where neither the prompt set nor a file of them is here."""
        made = super().load(facts, request)
        made._questions = read_questions(_file(request.options.get("questions")))
        return made

    def value(self, image: Image.Image, prompt: str) -> float:
        """The mean over the prompt's questions. BadInputError for a prompt without questions."""
        asked = self.asked(prompt)
        found = [self._probability(image, one) for one in asked]
        if self.card.settings["mean_of_questions"] == "arithmetic":
            return math.fsum(found) / len(found)
        return math.exp(math.fsum(math.log(one) for one in found) / len(found)) if min(found) > 0 else 0.0

    def _probability(self, image: Image.Image, one: Asked) -> float:
        return self.judge.probabilities(image, ASKED.replace("{}", one.question), (one.spellings,))[0]

    def asked(self, prompt: str) -> Sequence[Asked]:
        """The questions of a prompt that count for this metric."""
        found = self._questions.get(one_spaced(prompt))
        if found is None:
            raise BadInputError("the prompt has no questions: only those of the prompt set geneval2 have")
        skill = _skill(self.name)
        mine = [one for one in found if skill in (None, one.skill)]
        if not mine:
            raise BadInputError(f"none of the prompt's questions is about the skill '{skill}'")
        return mine


def _file(given: object) -> Path:
    needs = "its questions: give the file geneval2_data.jsonl of facebookresearch/GenEval2"
    return questions_file("geneval2", given, needs)


def read_questions(path: Path) -> dict[str, list[Asked]]:
    """Prompt -> its questions, from lines with "prompt", "vqa_list" and "skills"; MetricError names a bad line."""
    found: dict[str, list[Asked]] = {}
    for number, prompt, asked in read_prompts(path, "geneval2_data.jsonl", _asked):
        if not asked:
            raise MetricError(f"{path}: line {number}: the prompt has no questions")
        found[prompt] = asked
    if not found:
        raise MetricError(f"{path} has no questions")
    return found


def _asked(row: Mapping[str, Any]) -> list[Asked]:
    return [
        Asked(str(question), _spellings(str(question), str(answer)), _known(str(skill)))
        for (question, answer), skill in zip(row["vqa_list"], row["skills"], strict=True)
    ]


def _spellings(question: str, answer: str) -> tuple[str, ...]:
    if question.startswith("How many"):
        return number_spellings(answer)
    if answer != "Yes":
        raise ValueError(f"the answer '{answer}' is neither Yes nor that of a question 'How many ...'")
    return YES


def _known(skill: str) -> str:
    if skill not in SKILLS:
        raise ValueError(f"the skill '{skill}' is not one of {', '.join(SKILLS)}")
    return skill


def _skill(name: str) -> str | None:
    end = name.rpartition("_")[2]
    return end if end in SKILLS else None
