"""Which of the listed answers the images of a prompt show, from a judge that says what a test wants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

import metrics
from metrics import catalogue
from metrics.definitions import _ASKED, define_question
from metrics.errors import BadInputError, MetricError
from metrics.group.attribute import AttributeCoverage, normalised_entropy
from metrics.image.vqascore import OwnQuestion
from metrics.judge.judge import Choices, Judge
from metrics.types import Card

ANSWERS = ["boxer", "poodle", "pug"]


class Told(Judge):
    """The probabilities of the choices are those of the image's red value."""

    def __init__(self, shares: dict[int, tuple[float, ...]]) -> None:
        super().__init__({}, {})
        self.shares = shares
        self.asked: list[str] = []

    def _probabilities(self, key: str, image: Image.Image, question: str, choices: Choices) -> tuple[float, ...]:
        self.asked.append(question)
        found = self.shares[int(image.getpixel((0, 0))[0])]  # type: ignore[index]
        assert len(found) == len(choices)
        return found

    def _text(self, image: Image.Image, question: str, most_tokens: int) -> str:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    yield
    for name in list(_ASKED):
        catalogue._FACTS.pop(name, None)
        catalogue._TARGETS.pop(name, None)
    _ASKED.clear()


def images(*reds: int) -> list[Image.Image]:
    return [Image.new("RGB", (4, 4), (red, 0, 0)) for red in reds]


def breed(judge: Judge, question: str = "What breed?", **options: Any) -> Any:
    define_question("breed", question, ANSWERS)
    facts = metrics.info("breed")
    request = metrics.Request(options={**facts.options, **options})
    settings = AttributeCoverage.settings(facts, request)
    return AttributeCoverage(Card(facts, None, "", {}, settings, {}), torch.device("cpu"), judge)


BOXER, POODLE, PUG = (0.6, 0.2, 0.1, 0.0), (0.1, 0.7, 0.1, 0.1), (0.0, 0.0, 0.9, 0.1)
SHARES = {1: BOXER, 2: POODLE, 3: PUG, 4: (0.1, 0.1, 0.1, 0.6), 5: (0.1, 0.1, 0.1, 0.1), 6: BOXER}


@pytest.mark.parametrize(
    ("reds", "entropy", "share"),
    [
        ((1, 6, 6, 1), 0.0, 1 / 3),  # all the dogs are boxers
        ((1, 2, 3), 1.0, 1.0),
        ((1, 1, 2, 2), math.log(2) / math.log(3), 2 / 3),
        ((1, 1, 1, 3), -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3), 2 / 3),
    ],
)
def test_the_values(reds: tuple[int, ...], entropy: float, share: float) -> None:
    judge = Told(SHARES)
    assert breed(judge).score(images(*reds)) == pytest.approx(entropy)
    assert breed(judge, value="share").score(images(*reds)) == pytest.approx(share)
    assert len(judge.asked) == len(set(reds))  # an image is asked about once


def test_what_the_judge_reads() -> None:
    judge = Told(SHARES)
    breed(judge, "What breed is in {prompt}?").score(images(1, 2), "a dog")
    assert judge.asked[0] == (
        "What breed is in a dog?\nA. boxer\nB. poodle\nC. pug\nD. none of these\nAnswer with the letter alone."
    )
    with pytest.raises(MetricError, match="needs the prompt of the images, of which its question speaks"):
        breed(judge, "What breed is in {prompt}?").score(images(1, 2))


def test_no_value_is_a_reason() -> None:
    scorer = breed(Told(SHARES))
    with pytest.raises(BadInputError, match="^2 of its 3 images show none of the listed answers$"):
        scorer.score(images(4, 1, 4))
    with pytest.raises(BadInputError, match="the judge chose none of the letters"):
        scorer.score(images(1, 5))
    assert math.isnan(scorer.score(images(1)))
    assert scorer.why_undefined(1) == "needs at least 2 images"
    assert scorer.why_undefined(2) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": "variance"}, "value 'variance' is not one of entropy, share"),
        ({"answers": ["one"]}, "answers must be 2 to 25 strings, and there are 1"),
        ({"answers": [str(number) for number in range(26)]}, "and there are 26"),
        ({"answers": ["Pug", "pug "]}, "must differ from one another"),
        ({"answers": ["pug", "None of these"]}, "must differ from one another and from 'none of these'"),
        ({"answers": "pug"}, "must be a list of strings"),
        ({"answers": ["pug", " "]}, "none of them empty"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(MetricError, match=words):
        breed(Told(SHARES), **options)


def test_entropy_of_many() -> None:
    assert normalised_entropy(["a"] * 7, 5) == 0.0
    assert normalised_entropy(list("abcde") * 3, 5) == pytest.approx(1.0)
    assert normalised_entropy(list("aab"), 3) < normalised_entropy(list("abb") + list("c"), 3)


def test_a_yes_no_question() -> None:
    define_question("has_dog", "Is there a dog in {prompt}?")
    facts = metrics.info("has_dog")
    request = metrics.Request(options=dict(facts.options))
    judge = Told({1: (0.7, 0.2), 2: (0.1, 0.2)})
    scorer = OwnQuestion(
        Card(facts, None, "", {}, OwnQuestion.settings(facts, request), {}), torch.device("cpu"), judge
    )
    assert scorer.score(images(1), ["a park"]).tolist() == [pytest.approx(0.7)]
    assert judge.asked == ["Is there a dog in a park? Answer the question with Yes or No."]
    with pytest.raises(BadInputError, match="the judge answered neither Yes nor No"):
        scorer.score(images(2), ["a park"])
    with pytest.raises(MetricError, match="needs the prompts"):
        scorer.score(images(1))
