"""What every judge offers, wherever it runs: probabilities of answers, and answers in words.

What was asked once of an image is not asked again, whichever metric asks: answers are kept by the image's pixels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

A = TypeVar("A")
T = TypeVar("T")
Choices = tuple[tuple[str, ...], ...]
"""The spellings of each answer whose probability is asked for."""

_MOST_ANSWERS = 200_000


class Judge(ABC):
    """`settings` and `files` are what a card says of it; `source` is whence it comes."""

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, Path], source: str | None = None) -> None:
        self.settings = dict(settings)
        self.files = dict(files)
        self.source = source
        self._answers: OrderedDict[Any, Any] = OrderedDict()

    def probabilities(self, image: Image.Image, question: str, choices: Choices) -> tuple[float, ...]:
        """The probability of each choice as the first token of the answer, in 0..1; they need not add up to 1.

        BadInputError for a question or an image that the judge cannot take.
        """
        key = (image_key(image), question, choices)
        return self._once(key, lambda: self._probabilities(key[0], image, question, choices))

    def text(self, image: Image.Image, question: str, most_tokens: int) -> str:
        """The answer in words, decoded greedily, of at most so many tokens."""
        return self._once((image_key(image), question, most_tokens), lambda: self._text(image, question, most_tokens))

    def check_probabilities(self) -> None:  # noqa: B027
        """Raise an error where this judge gives no probabilities: one on this machine always does."""

    def map(self, work: Callable[[A], T], items: Sequence[A]) -> list[T]:
        """`work`, which asks the judge, on each item."""
        return [work(item) for item in items]

    @abstractmethod
    def _probabilities(self, key: str, image: Image.Image, question: str, choices: Choices) -> tuple[float, ...]: ...

    @abstractmethod
    def _text(self, image: Image.Image, question: str, most_tokens: int) -> str: ...

    def _once(self, key: Any, ask: Callable[[], T]) -> T:
        if key in self._answers:
            found: T = self._answers[key]
            return found
        found = self._answers[key] = ask()
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)
        return found


def image_key(image: Image.Image) -> str:
    """sha256 (hex) of an image's size and pixels."""
    head = f"{image.mode} {image.size}\0".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()
