"""What can go wrong in `metrics`, each as one sentence for the user; and how every message of the project ends."""

import re
from typing import ClassVar

_NEXT_SENTENCE = re.compile(r"""[.?!]['")]? +(?=[A-Z'"`-])""")


def punctuated(message: str) -> str:
    """The message with the project's full stops: none after a single sentence, one after each of several.

    A single sentence stands behind "error: " or in a table's cell, where a stop is noise; several need theirs. Messages
    are put together from parts (a hint, a listing), so this is decided when the whole is known.
    """
    message = message.rstrip()
    if _NEXT_SENTENCE.search(message):
        return message if message.endswith((".", "?", "!")) else f"{message}."
    return message if message.endswith("..") else message.removesuffix(".")


def first_line(error: BaseException, most: int = 160) -> str:
    """What another library's error says first, cut to `most` characters: long reports follow. "" where it says nothing.

    >>> first_line(ValueError("no such key\\n  at line 3"))
    'no such key'
    """
    said = str(error).strip()
    return said.splitlines()[0][:most] if said else ""


class MetricError(Exception):
    """A user mistake or a missing thing; `str(error)` is one sentence that says what, where and what to do."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str) -> None:
        super().__init__(punctuated(message))


class UnknownMetricError(MetricError):
    """A metric name (or an option of a metric) that does not exist."""


class BadInputError(MetricError):
    """Images, prompts or statistics that a metric cannot take."""


class MissingWeightsError(MetricError):
    """Weights, a package or a device that is needed is absent or damaged."""

    exit_code: ClassVar[int] = 4
